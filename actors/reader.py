"""The codec as the walk and the actors use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..persistence import codec

__all__ = ["CodecReader"]


class CodecReader:
    """Reads encoded values, and puts encoded ones together without decoding them."""

    @staticmethod
    def decode(text: str, /) -> Any:
        """Return the value."""
        return codec.decode(text)

    @staticmethod
    def split(text: str, /) -> list[str]:
        """Return the encoded elements of an encoded list."""
        return codec.split(text)

    @staticmethod
    def join(texts: Iterable[str], /) -> str:
        """Return the encoded list of these encoded elements."""
        return f"[{','.join(texts)}]"

    @staticmethod
    def entries(text: str, /) -> dict[str, str]:
        """Return the names of an encoded mapping, each with its encoded value."""
        return codec.entries(text)

    @staticmethod
    def compose(texts: Mapping[str, str], /) -> str:
        """Return the encoded mapping of these names to these encoded values."""
        pairs = [(codec.encode(name), text) for name, text in texts.items()]
        if len(texts) == 1 and next(iter(texts)).startswith("$"):  # it would look like one of the codec's tags
            return f'{{"$map":[[{pairs[0][0]},{pairs[0][1]}]]}}'
        return f"{{{','.join(f'{name}:{text}' for name, text in pairs)}}}"
