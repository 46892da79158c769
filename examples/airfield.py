"""An airfield in a storm: flights that wait for several things at once, and a tower that may step in.

A flight refuels when its passengers *and* its bags are aboard, then waits for whichever comes first, a clearance or the
news that its crew is ill. Ground staff know terminals, not flights: they signal whom it concerns. In a storm the tower
pauses everything: what comes is kept, nothing begins. Orders of the tower are on file, so that none is given twice.

    refuelled during the storm: nobody
    AZ1: took off with 9 t from the pump
    BA2: took off with 8 t from the truck
    CL3: failed, the crew is ill
    DL4: cancelled, leaves tomorrow from the same stand
    stands still taken: DL4
    on file for BA2: pause, storm; resume, storm is over; complete_step, the pump is broken
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, NonRetryable, Signal, Workflow, step

FLIGHTS = {"AZ1": "North", "BA2": "North", "CL3": "South", "DL4": "South"}


class Field:
    """Stands and fuel; a repeated key changes nothing more."""

    def __init__(self) -> None:
        self.stands: dict[str, str] = {}
        self.fuel: dict[str, str] = {}

    def assign(self, key: str, flight: str) -> str:
        """Give a flight a stand."""
        self.stands[key] = flight
        return key

    def free(self, stand: str) -> None:
        """Let others have it."""
        self.stands.pop(stand, None)

    def pump(self, key: str, flight: str) -> str:
        """Fill the tanks; the pump at one stand is broken."""
        if flight == "BA2":
            raise ConnectionError("the pump is broken")
        return self.fuel.setdefault(key, "9 t from the pump")


field = Field()
services = (field,)
boarded, loaded = Signal("boarded", int), Signal("loaded", int)
cleared, crew_ill = Signal("cleared", str), Signal("crew ill", str)


@step(retry=1, on_exhausted="park")
def refuel(ctx: Context[str]) -> str:
    """Fill the tanks, or have the tower see to it."""
    return field.pump(ctx.idempotency_key, ctx.input)


@step
def take_off(ctx: Context[str]) -> str:
    """Leave the stand to others."""
    field.free(ctx.steps["stand"])
    return f"took off with {ctx[refuel]}"


@step
def give_up(ctx: Context[str]) -> None:
    """Stay here, and have everything undone."""
    raise NonRetryable(ctx[crew_ill])


flights = (
    Workflow("flight", input=str)
    .step(
        "stand",
        lambda ctx: field.assign(ctx.idempotency_key, ctx.input),
        compensate=lambda ctx: field.free(ctx.result),
    )
    .wait_all(boarded, loaded)
    .step(refuel)
    .wait_any(cleared, crew_ill)
    .branch(lambda ctx: str(ctx.last_signal))
    .path("cleared", take_off)
    .path("crew ill", give_up)
)
workflows = (flights,)


def on_file(engine: Engine, flight: str) -> dict[str, str | None]:
    """Return what the tower has ordered, and why."""
    return {entry.verb: entry.reason for entry in engine.audit(flight)}


def drive(engine: Engine) -> dict[str, Execution]:
    """Get four flights through a storm; keys and the tower's file make a second call harmless."""
    runs = {name: engine.start(flights, name, id=name, tags={"terminal": hall}) for name, hall in FLIGHTS.items()}
    engine.settle()
    for name, run in runs.items():
        if "pause" not in on_file(engine, name):
            run.pause(by="the tower", reason="storm")
    for signal, hall in [(boarded, "North"), (loaded, "South"), (loaded, "North"), (boarded, "South")]:
        engine.signal_where(signal, 180, workflow="flight", tags={"terminal": hall}, key=f"{signal.name} {hall}")
    for name, run in runs.items():
        if "resume" not in on_file(engine, name):
            run.resume(by="the tower", reason="storm is over")
    engine.settle()
    if "complete_step" not in on_file(engine, "BA2"):
        runs["BA2"].complete_step("refuel", result="8 t from the truck", by="the tower", reason="the pump is broken")
    if "cancel" not in on_file(engine, "DL4"):
        runs["DL4"].cancel(compensate=False, by="the tower", reason="leaves tomorrow from the same stand")
    engine.signal_where(crew_ill, "the crew is ill", tags={"terminal": "South"}, key="CL3")
    engine.signal_where(cleared, "runway 2", tags={"terminal": "North"}, key="the sky is clear")
    return {name: run.wait() for name, run in runs.items()}


def main() -> None:
    """Tell how each flight fared."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/flights.db", *workflows) as engine,
    ):
        ends = drive(engine)
        over = min(entry.at for name in ends for entry in engine.audit(name) if entry.verb == "resume")
        early = [name for name, end in ends.items() if end.steps["refuel"].started_at < over]
        print(f"refuelled during the storm: {', '.join(early) or 'nobody'}")
        for name, end in ends.items():
            print(f"{name}: {f'{end.state}, {end.error.message}' if end.error else end.result}")
        print(f"stands still taken: {', '.join(field.stands.values())}")
        filed = "; ".join(f"{verb}, {reason}" for verb, reason in on_file(engine, "BA2").items())
        print(f"on file for BA2: {filed}")


if __name__ == "__main__":
    main()
