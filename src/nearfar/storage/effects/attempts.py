"""Which calls of effects one attempt at a step has made so far."""

from collections import Counter
from threading import Lock

from nearfar.errors import EffectOrderError

from .records import Call, Effect


class Attempt:
    """Gives each call its place among those of its name, and finds the call that an earlier attempt made.

    Calls are told apart by their order. Where an earlier attempt made them in another order, their
    arguments decide.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._begun: Counter[str] = Counter()
        self._taken: dict[str, str] = {}  # key -> fingerprint of the call that took it

    def choose(self, call: Call, earlier: list[Effect]) -> tuple[int, Effect | None]:
        """The call's place, and what an earlier attempt left there.

        ``earlier`` are all effects of the step with that name. Raises EffectOrderError when this
        call was made before, but its record was taken for a call with other arguments.
        """
        at = {effect.position: effect for effect in earlier}
        place = self._begun[call.name]
        free = [effect for effect in earlier if effect.key not in self._taken]
        same = [effect for effect in free if effect.fingerprint == call.fingerprint]
        here = at.get(place)
        if here is not None and here in same:
            chosen: Effect | None = here
        elif same:
            chosen = same[0]
        else:
            self._refuse_mixed_up(call, earlier)
            chosen = here if here in free else None
        if chosen is not None:
            place = chosen.position
        else:
            while place in at:
                place += 1
        return place, chosen

    def take(self, call: Call, position: int) -> None:
        """The call goes on under this place."""
        self._begun[call.name] += 1
        self._taken[call.key(position)] = call.fingerprint

    def _refuse_mixed_up(self, call: Call, earlier: list[Effect]) -> None:
        for effect in earlier:
            other = self._taken.get(effect.key)
            if other not in (None, call.fingerprint) and effect.fingerprint == call.fingerprint:
                raise EffectOrderError(
                    f"The step {call.step!r} calls {call.name} in another order and with other "
                    "arguments than before, so what was done cannot be told from what was not.",
                    data={"effect": call.name, "step": call.step},
                )
