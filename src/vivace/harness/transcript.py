"""The append-only record of a conversation: messages, and for a native client the exact tokens."""

from __future__ import annotations

from collections.abc import Sequence

from vivace.core.errors import ModelError
from vivace.core.protocols import Codec
from vivace.core.types import Completion, Forgotten, Message, Segment


class Transcript:
    """What was said, in order. Nothing already recorded is ever changed, decoded or encoded again; it can only be
    taken back from the end.

    With a codec, `segment.ids` is at any time exactly what the model has seen; without one it stays empty.
    """

    def __init__(self, codec: Codec | None) -> None:
        self.codec = codec
        self.messages: list[Message] = []
        self.segment = Segment()
        # Every message ends with the same id; it also closes answers that were cut short.
        self.end = codec.message(Message(role="user"))[0][-1] if codec else -1
        self._prompt = codec.generation_prompt() if codec else []

    def add(self, message: Message) -> None:
        """A message that no policy sampled."""
        self.messages.append(message)
        if self.codec:
            self._extend(self.codec.message(message)[0])

    def resume(self, messages: Sequence[Message], segment: Segment) -> None:
        """Go on from a conversation recorded earlier; without its ids they are rendered anew."""
        if self.codec and not segment.ids:
            for message in messages:
                self.add(message)
            return
        self.messages += messages
        if self.codec:
            self._extend(segment.ids, segment.mask, segment.logprobs, segment.turns)

    def since(self, at: int) -> Segment:
        """What the segment has grown by since it had `at` ids."""
        part = self.segment
        return Segment(ids=part.ids[at:], mask=part.mask[at:], logprobs=part.logprobs[at:], turns=part.turns[at:])

    def prompt_length(self) -> int:
        """Tokens the next answer will follow (0 without a codec)."""
        return len(self.segment.ids) + len(self._prompt)

    def open_answer(self) -> Sequence[int]:
        """The ids to continue from; after this the next thing recorded must be an answer."""
        self._extend(self._prompt)
        return list(self.segment.ids)

    def answer(self, completion: Completion, turn: int) -> Message:
        """Record what was sampled and return its message, read from the ids if there are any.

        Raises:
            ModelError: a client with a codec gave no ids, or not one logprob for each.
        """
        message = completion.message
        if self.codec:
            if completion.ids is None:
                raise ModelError("the client has a codec but returned no token ids; return the ids it sampled")
            logprobs = completion.logprobs or [0.0] * len(completion.ids)
            if len(logprobs) != len(completion.ids):
                raise ModelError(f"the client returned {len(completion.ids)} ids but {len(logprobs)} logprobs")
            count = len(completion.ids)
            self._extend(completion.ids, [1] * count, logprobs, [turn] * count)
            if not completion.ids or completion.ids[-1] != self.end:
                self._extend([self.end])
            message = self.codec.parse(completion.ids)
        self.messages.append(message)
        return message

    def mark(self) -> tuple[int, int]:
        """Where the record stands, for `take_back`."""
        return len(self.messages), len(self.segment.ids)

    def take_back(self, mark: tuple[int, int], why: str = "") -> Forgotten:
        """Forget what was added since `mark`, and return it up to its last answer: the model goes on as if it had not
        been said."""
        messages, at = mark
        del self.messages[messages:]
        segment = self.segment
        answer = len(segment.mask) - [*segment.mask[at:][::-1], 1].index(1)  # without results that came after it
        gone = Forgotten(at=at, why=why, ids=segment.ids[at:answer], mask=segment.mask[at:answer],
                         logprobs=segment.logprobs[at:answer])
        for part in (segment.ids, segment.mask, segment.logprobs, segment.turns):
            del part[at:]
        return gone

    def _extend(
        self, ids: Sequence[int], mask: Sequence[int] = (), logprobs: Sequence[float] = (), turns: Sequence[int] = ()
    ) -> None:
        segment, count = self.segment, len(ids)
        segment.ids += ids
        segment.mask += mask or [0] * count
        segment.logprobs += logprobs or [0.0] * count
        segment.turns += turns or [-1] * count
