"""`auditlog dead-letters`: what was rejected, why, and publishing it again."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from auditlog_cli.addresses import consumer_settings
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from auditlog_cli.tables import Column, column_time, write_table
from auditlog_cli.terminal import is_terminal, say, write, write_json
from auditlog_schemas.errors import ConfigError, InvalidEvent, NotFound
from auditlog_schemas.inert import shortened
from auditlog_storage.moments import rfc3339

if TYPE_CHECKING:
    from auditlog_consumer.dead_letter_log import DeadLetter

app = typer.Typer(no_args_is_help=True, help="Rejected messages: list, show, publish again.")

DETAIL_CHARACTERS_MAX: Final = 160
DUMP_BYTES_MAX: Final = 1024
_DUMP_BYTES_A_LINE: Final = 16

_COLUMNS: Final = (
    Column("Id", "cyan", whole=True),
    Column("Received (UTC)", "dim", whole=True),
    Column("Rule", "yellow", whole=True),
    Column("Detail"),
)

Rule = Annotated[str | None, typer.Option(help="Only this rule, for example unknown_action.")]


@app.command("list")
def list_letters(
    rule: Rule = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="No limit.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the dead letters, then count them by rule."""
    from auditlog_consumer.dead_letter_log import DeadLetterLog

    counts: Counter[str] = Counter()
    letters = _counted(_of_rule(DeadLetterLog(consumer_settings(data_dir)).read(), rule), counts)
    shown = letters if everything else islice(letters, limit)
    if as_json:
        for letter in shown:
            write_json(_as_json(letter))
        return
    for_person = is_terminal()
    rows = [
        (letter.id, column_time(letter.source_time, for_person), letter.rule, _detail(letter))
        for letter in shown
    ]
    if rows:
        write_table(_COLUMNS, rows)
    for _ in letters:
        pass  # the rest counts too
    total = counts.total()
    if not total:
        say("no dead letters" + (f" of rule {rule}" if rule else ""))
        return
    say(f"{total:,} in all: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    if len(rows) < total:
        say(f"the first {len(rows):,} are listed; --limit N or --all shows more")


@app.command("show")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As listed, for example 3/17.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show one dead letter: its reason, and its event or, if that cannot be read, its bytes."""
    from auditlog_consumer.dead_letter_log import DeadLetterLog

    found = DeadLetterLog(consumer_settings(data_dir)).find(letter)
    if found is None:
        raise NotFound(f"no dead letter {letter!r:.80}; `auditlog dead-letters list` shows their ids")
    if as_json:
        write_json(_as_json(found))
        return
    facts = {
        "reason": found.rule if found.rule == found.reason else f"{found.reason}: {found.rule}",
        "field": found.field or "the message as a whole",
        "detail": found.detail,
        "source": f"{found.source_topic}, partition {found.source_partition}, {_offsets(found)}",
        "received": rfc3339(found.source_time),
        "account": _text(found.source_key) if found.source_key is not None else "no key",
        "catalog": found.catalog_version,
        "replayed": "yes" if found.replayed else "no",
    }
    write(f"dead letter {found.id}")
    for name, value in facts.items():
        write(f"  {name:<9} {value}")
    write()
    event = _decoded(found.body)
    if event is not None:
        write_json(event)
        return
    for line in _dump(found.body):
        write(line)


@app.command("replay")
def replay(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[IDS]", help="As listed.")] = None,
    rule: Rule = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Publish again what today's catalog and schemas accept, after a fix; the others stay where they are."""
    if sum((bool(letters), rule is not None, everything)) != 1:
        raise ConfigError("dead-letters replay: give ids, or --rule RULE, or --all")
    from auditlog_cli.api_process import own_key
    from auditlog_cli.replay_advice import NotingJudge, advice
    from auditlog_consumer.dead_letter_log import DeadLetterLog
    from auditlog_consumer.service import build_judge

    settings = consumer_settings(data_dir)
    log, judge = DeadLetterLog(settings), build_judge(settings)
    judge.own_key = own_key(data_dir)
    chosen = list(_chosen(log.read(), letters)) if letters else _of_rule(log.read(), rule)
    noting = NotingJudge(judge)
    done = log.replay(chosen, noting)
    again = done.already_replayed
    before = f", {again:,} left that were published again before" if again else ""
    left = f"{done.still_rejected:,} left that today's rules reject too"
    write(f"{done.replayed:,} published again, {left}{before}")
    for line in advice(noting.rejected, done.still_rejected - noting.rejected.total()):
        say(line)


def _of_rule(letters: Iterable[DeadLetter], rule: str | None) -> Iterator[DeadLetter]:
    return (letter for letter in letters if rule in (None, letter.rule))


def _chosen(letters: Iterable[DeadLetter], ids: list[str]) -> Iterator[DeadLetter]:
    left = set(ids)
    for letter in letters:
        if letter.id in left or letter.key in left:
            left -= {letter.id, letter.key}
            yield letter
    if left:
        raise NotFound(f"no dead letter {sorted(left)[0]!r:.80}; nothing was published")


def _counted(letters: Iterable[DeadLetter], counts: Counter[str]) -> Iterator[DeadLetter]:
    for letter in letters:
        counts[letter.rule] += 1
        yield letter


def _detail(letter: DeadLetter) -> str:
    text = f"{letter.field}: {letter.detail}" if letter.field else letter.detail
    return shortened(text, DETAIL_CHARACTERS_MAX) + (" (replayed)" if letter.replayed else "")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "reason": letter.reason,
        "rule": letter.rule,
        "field": letter.field,
        "detail": letter.detail,
        "source": {
            "topic": letter.source_topic,
            "topic_id": letter.source_topic_id,
            "partition": letter.source_partition,
            "offset": letter.source_offset,
            "last_offset": letter.source_last_offset,
            "received_at": rfc3339(letter.source_time),
        },
        "catalog_version": letter.catalog_version,
        "replayed": letter.replayed,
        "key_base64": _base64(letter.source_key),
        "body_base64": _base64(letter.body),
    }


def _offsets(letter: DeadLetter) -> str:
    first, last = letter.source_offset, letter.source_last_offset
    return f"offset {first}" if first == last else f"offsets {first} to {last}"


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _decoded(body: bytes | None) -> dict[str, Any] | None:
    """Return the event in a message, if it has the built-in schema and can be read at all."""
    from auditlog_schemas.codec import MessageDecoder, WriterSchemas
    from auditlog_schemas.event import AuditEvent
    from auditlog_storage.event_json import published_json

    try:
        return published_json(AuditEvent.from_record(MessageDecoder(WriterSchemas()).decode(body)))
    except (InvalidEvent, ValueError, OverflowError):
        # Not an event, or one whose time no calendar has.
        return None


def _dump(body: bytes | None) -> Iterator[str]:
    """Yield the bytes as hexadecimal and ASCII, as `xxd` does."""
    if not body:
        yield "no bytes: a tombstone" if body is None else "no bytes: an empty message"
        return
    for start in range(0, min(len(body), DUMP_BYTES_MAX), _DUMP_BYTES_A_LINE):
        line = body[start : start + _DUMP_BYTES_A_LINE]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start:08x}  {line.hex(' '):<{_DUMP_BYTES_A_LINE * 3}} {shown}"
    if len(body) > DUMP_BYTES_MAX:
        yield f"… {len(body) - DUMP_BYTES_MAX:,} more bytes; --json has all of them"
