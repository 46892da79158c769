"""A travel page put together from several services, each with a time limit of its own.

The calls are coroutines, run side by side on one event loop. One that does not answer in time is cancelled and tried
again; when it never does, the page fails and the error carries what each strand said.

    Lisbon: 21 degrees, 3 concerts, hotels from 74.00
    Atlantis: failed
      concerts: StepTimeout
      hotels: LookupError
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, Retry, Workflow, step


@dataclass(frozen=True)
class Trip:
    """Where to."""

    city: str


@dataclass(frozen=True)
class Page:
    """What the traveller sees."""

    degrees: int
    concerts: int
    hotel_cents: int


class Services:
    """Three services: one quick, one that hangs now and then, one that knows few cities."""

    def __init__(self) -> None:
        self.degrees = {"Lisbon": 21, "Atlantis": 4}
        self.concerts = {"Lisbon": 3}
        self.hotels = {"Lisbon": 74_00}

    async def weather(self, city: str) -> int:
        """Answer at once."""
        return self.degrees[city]

    async def tickets(self, city: str, attempt: int) -> int:
        """Hang on the first call, and for ever when the city is unknown."""
        if attempt == 1 or city not in self.concerts:
            await asyncio.sleep(3600)
        return self.concerts[city]

    async def rooms(self, city: str) -> int:
        """Answer, or say that there is nothing."""
        if city not in self.hotels:
            raise LookupError(f"no hotels in {city}")
        return self.hotels[city]


web = Services()
services = (web,)


@step(timeout=5)
async def weather(ctx: Context[Trip]) -> int:
    """Ask for the temperature."""
    return await web.weather(ctx.input.city)


@step(timeout=0.1, retry=Retry(attempts=3, initial=0.01))
async def concerts(ctx: Context[Trip]) -> int:
    """Ask how many concerts there are; a tenth of a second is all it gets."""
    return await web.tickets(ctx.input.city, ctx.attempt)


@step(timeout=5, retry=Retry(attempts=3, never_on=LookupError))
async def hotels(ctx: Context[Trip]) -> int:
    """Ask for the cheapest room; what does not exist now will not exist in a second."""
    return await web.rooms(ctx.input.city)


def assemble(ctx: Context[Trip]) -> Page:
    """Put the page together."""
    return Page(ctx[weather], ctx[concerts], ctx[hotels])


pages = Workflow("page", input=Trip).parallel(weather, concerts, hotels).map("page", assemble)
workflows = (pages,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Ask for two pages; the ids make a second call harmless."""
    return {city: engine.start(pages, Trip(city), id=city).wait() for city in ("Lisbon", "Atlantis")}


def main() -> None:
    """Show both pages."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/pages.db", *workflows) as engine,
    ):
        ends = drive(engine)
        lisbon, atlantis = ends["Lisbon"], ends["Atlantis"]
        page: Page = lisbon.result
        print(f"Lisbon: {page.degrees} degrees, {page.concerts} concerts, hotels from {page.hotel_cents / 100:.2f}")
        assert atlantis.error
        print(f"Atlantis: {atlantis.state}")
        for cause in sorted(atlantis.error.causes, key=lambda cause: cause.step or ""):
            print(f"  {cause.step}: {cause.type.rpartition('.')[2]}")


if __name__ == "__main__":
    main()
