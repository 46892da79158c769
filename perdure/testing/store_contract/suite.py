"""The suite as a whole."""

from __future__ import annotations

import pytest

from ...dsl.errors import StoreError
from ...persistence.records import Batch
from ...persistence.store import Store
from .committing import Committing
from .limits import Limits
from .reading import Reading
from .retiring import Retiring
from .rows import Rows

__all__ = ["StoreContract"]


class StoreContract(Committing, Reading, Retiring, Limits):
    """The suite; every test is given an open, empty store."""

    @pytest.fixture
    def rows(self) -> Rows:
        """Give the builder of rows."""
        return Rows()

    def test_closing_twice_is_harmless(self, store: Store) -> None:
        store.close()
        store.close()

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        for call in (lambda: store.commit(Batch()), store.count, lambda: store.load(1), store.take_over):
            with pytest.raises(StoreError, match="is not open"):
                call()
