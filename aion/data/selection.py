# SPDX-License-Identifier: MIT
"""From the codes of records to the tokens that are given and asked.

Under every policy inputs and targets are disjoint, absent tokens are never drawn, the
budgets hold, and a record with a token is asked for at least one.
"""

import numpy as np

from aion.data.allotment import (
    Budget,
    Offer,
    Plan,
    ask_something,
    one_refinement_at_a_time,
)
from aion.data.draws import Draws
from aion.data.masking import MaskPolicy
from aion.errors import DataError
from aion.tokens import Example, TokenBatch
from aion.tokenspace import TokenSpace

# A sort key is a group of tokens, a random number and a slot; together 64 bits.
_SLOT_BITS = np.uint64(20)
_RANDOM_BITS = np.uint64(24)


def draw_plan(policy: MaskPolicy, draws: Draws, offer: Offer, budget: Budget) -> Plan:
    """The plan of a policy under the rules that all share.

    Raises:
        DataError: a policy of a user's own plans more than there is, or than allowed.
    """
    plan = policy.plan(draws.stream("policy"), offer, budget)
    plan = ask_something(draws.stream("ask something"), offer, plan)
    plan = one_refinement_at_a_time(draws.stream("refine"), offer, plan, budget)
    low = min(plan.inputs.min(initial=0), plan.targets.min(initial=0))
    fits = (plan.inputs.sum(axis=1) <= budget.inputs).all()
    fits &= (plan.targets.sum(axis=1) <= budget.targets).all()
    if low < 0 or not fits or (plan.inputs + plan.targets > offer.counts).any():
        raise DataError(
            f"{policy} plans tokens beyond the budget or the record",
            "Cap the plan at offer.counts and at the budget.",
        )
    return plan


def available(codes: np.ndarray, space: TokenSpace) -> np.ndarray:
    """Which tokens can be drawn: present, and not finer than an absent one.

    Args:
        codes: int [b, slots], -1 where absent.
        space: their token space.

    Returns:
        bool [b, slots].
    """
    present = codes >= 0
    for row, spec in enumerate(space):
        if spec.coarse_to_fine:
            start, stop = space.slot_offsets[row : row + 2]
            present[:, start:stop] = np.logical_and.accumulate(
                present[:, start:stop], axis=1
            )
    return present


def mask_codes(
    codes: np.ndarray,
    space: TokenSpace,
    policy: MaskPolicy,
    budget: Budget,
    draws: Draws,
) -> Example:
    """Draws inputs and targets of a batch of records.

    Args:
        codes: int32 [b, slots], -1 where absent.
        space: their token space.
        policy: how many tokens of which modality.
        budget: number of input and target tokens of the result.
        draws: randomness, one key per record.

    Returns:
        `Example` of int32 arrays [b, budget.inputs] and [b, budget.targets], sorted by
        modality; padding has modality -1, code 0, position 0.
    """
    present = available(codes, space)
    starts = space.slot_offsets[:-1]
    counts = np.add.reduceat(present, starts, axis=1, dtype=np.int64)
    plan = draw_plan(policy, draws, Offer(counts, space), budget)
    used = plan.inputs + plan.targets > 0
    present &= np.repeat(used, space.num_tokens, axis=1)
    slots = _random_order(present, space, draws.stream("order"))
    counts = np.where(used, counts, 0)
    first = counts.cumsum(axis=1) - counts
    return Example(
        _collect(codes, space, slots, first, plan.inputs, budget.inputs),
        _collect(
            codes, space, slots, first + plan.inputs, plan.targets, budget.targets
        ),
    )


def _random_order(present: np.ndarray, space: TokenSpace, draws: Draws) -> np.ndarray:
    """Slots of the present tokens, uint64 [b, most], sorted by modality.

    Inside a modality the order is random, in a coarse-to-fine one that of the slots.
    Columns beyond a record's number of tokens are meaningless.
    """
    number = present.sum(axis=1)
    real = np.arange(number.max(initial=0)) < number[:, None]
    keys = np.full(real.shape, np.iinfo(np.uint64).max)
    keys[real] = np.broadcast_to(_key_table(space), present.shape)[present]
    random = draws.bits(real.shape[1])
    random >>= np.uint64(64) - _RANDOM_BITS
    random <<= _SLOT_BITS
    keys |= random
    keys.sort(axis=1)
    keys &= np.uint64(2 ** int(_SLOT_BITS) - 1)
    return keys


def _key_table(space: TokenSpace) -> np.ndarray:
    """Group and slot of each slot's sort key, uint64 [slots].

    The tokens of a modality are one group, those of a coarse-to-fine one a group each.
    """
    ordered = np.array([s.coarse_to_fine for s in space])[space.slot_modality]
    group = (ordered | (space.slot_position == 0)).cumsum().astype(np.uint64)
    slot = np.arange(space.num_slots, dtype=np.uint64)
    return group << (_RANDOM_BITS + _SLOT_BITS) | slot


def _collect(
    codes: np.ndarray,
    space: TokenSpace,
    slots: np.ndarray,
    first: np.ndarray,
    number: np.ndarray,
    width: int,
) -> TokenBatch:
    """The tokens at columns first .. first + number of `slots`, per modality."""
    cell = np.repeat(np.arange(number.size), number.ravel())
    ends = number.cumsum()
    rows = cell // number.shape[1]
    index = np.arange(len(cell))
    column = index + (first.ravel() - (ends - number.ravel()))[cell]
    totals = number.sum(axis=1)
    place = index - (totals.cumsum() - totals)[rows]
    slot = slots[rows, column].astype(np.int64)
    shape = (len(codes), width)
    batch = TokenBatch(
        np.zeros(shape, np.int32),
        np.full(shape, -1, np.int32),
        np.zeros(shape, np.int32),
    )
    batch.codes[rows, place] = codes[rows, slot]
    batch.modality[rows, place] = space.slot_modality[slot]
    batch.position[rows, place] = space.slot_position[slot]
    return batch
