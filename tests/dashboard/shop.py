"""The workflows that are looked at, and a visitor without a screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from starlette.testclient import TestClient

from perdure import Context, Retry, Signal, Workflow


@dataclass(frozen=True)
class Decision:
    approved: bool
    level: Literal["low", "high"] = "low"
    note: str | None = None


@dataclass(frozen=True)
class Order:
    sku: str
    cents: int


HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>" + "W" * 80
SECRET = "a long secret"  # noqa: S105 - of no one
approval = Signal("approval", Decision)


def charge(ctx: Context[Order]) -> str:
    if ctx.input.cents > 1000:
        raise ConnectionError(f"the bank refused {ctx.input.sku}")
    return f"payment for {ctx.input.sku}"


orders = (
    Workflow("orders", input=Order)
    .step("reserve", lambda: "shelf 7", compensate=lambda: None)
    .step("charge", charge, retry=Retry(attempts=2, initial=0.001, jitter=0))
    .wait_for(approval, timeout=86_400)
    .step("ship", lambda ctx: f"shipped, {ctx[approval].note}")
)


class Bank:
    """Works, or does not."""

    broken = False

    def pay(self) -> str:
        if self.broken:
            raise ConnectionError("the bank is down")
        return "paid"


bank = Bank()
shaky = Workflow("shaky").step("pay", bank.pay, retry=1)
parked = Workflow("parked").step("pay", bank.pay, retry=1, on_exhausted="park")
hostile = Workflow(HOSTILE).step(HOSTILE, lambda ctx: ctx.input).wait_for(HOSTILE)


class Visitor(TestClient):
    """A browser without a screen: it sends what the page's own script sends."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, base_url="http://localhost", **options)

    def act(self, **asked: Any) -> Any:
        csrf = self.get("/api/overview").json()["csrf"]
        return self.post("/api/act", json=asked, headers={"x-perdure-csrf": csrf})
