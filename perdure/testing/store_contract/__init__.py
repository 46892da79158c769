"""What every store must do, as a suite that proves a store of your own.

Needs pytest. Derive a class whose name begins with ``Test`` and give it the fixture ``store``::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path / "runs.db")
            store.open()
            yield store
            store.close()
"""

from .rows import Rows
from .suite import StoreContract

__all__ = ["Rows", "StoreContract"]
