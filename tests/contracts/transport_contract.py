"""What every Transport must do. One class; each transport's test module derives from it and says how to make one."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import scripts
from devices.errors import DeadlineExceeded, TransferRefused
from devices.transport import Completed, Transport

LONG_S = 60.0
# Of this run alone: another run on this machine must not end its commands.
OWNER = secrets.token_hex(8)
# What a shell would act on, and what text cannot hold: everything but NUL, which no system passes on.
ARGUMENT = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(
        [
            "", " ", "  two  ", "-n", "--help", "-", "$(touch pwned)", "`touch pwned`", "; touch pwned", "| cat", "a&b",
            "'", '"', "'\"'", "\\", "\\n", "\n", "a\nb\n", "\t", "*", "?", "[a]", "{a,b}", "~", "~root",
            "$HOME", "${x}",
            "!", "!!", "#c", "a=b", "é", "日本", "\u202e", "%s", "\r\n", "\x1b[31m", "\x7f", "\\\\", "a\\ b", "<f",
            ">f", "2>&1",
        ]
    ),
)  # fmt: skip


class TransportContract:
    """Derive, and provide the fixtures ``transport`` (a fresh, working one) and ``there`` (a writable folder on it).

    Where ``emulated``, a program takes a tenth of a second to start: fewer lists of arguments are tried (the quoting is
    the transport's, which is tried in full where programs start fast), and what is left is looked for after the tests
    that leave something.
    """

    emulated = False

    @pytest.fixture
    def transport(self) -> Transport:
        raise NotImplementedError

    @pytest.fixture
    def there(self) -> str:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, request: pytest.FixtureRequest, transport: Transport) -> Iterator[None]:
        """A transport alone does not end what runs on behind a connection; a session does, and here the test."""
        yield
        if self.emulated and "deadline" not in request.node.name:
            return
        ended = transport.run(["sh", "-c", scripts.END_ALL, "sh", OWNER], deadline_s=LONG_S, env={}, stdin=b"")
        assert b"left" not in ended.stdout

    def run(self, transport: Transport, *argv: str, stdin: bytes = b"", deadline_s: float = LONG_S) -> Completed:
        return transport.run(argv, deadline_s=deadline_s, env={scripts.MARK: OWNER}, stdin=stdin)

    def test_stdout_stderr_and_exit_code_are_apart_and_whole(self, transport: Transport) -> None:
        done = self.run(transport, "sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 3)
        assert done.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")
        assert not done.ok

    def test_a_program_that_is_not_there_is_exit_127(self, transport: Transport) -> None:
        done = self.run(transport, "no-such-program-anywhere")
        assert done.exit_code == 127
        assert b"no-such-program-anywhere" in done.stderr

    def test_a_file_that_is_no_program_is_exit_126(self, transport: Transport) -> None:
        assert self.run(transport, "/etc/passwd").exit_code == 126

    def test_death_by_a_signal_is_128_and_the_signal(self, transport: Transport) -> None:
        assert self.run(transport, "sh", "-c", "kill -9 $$").exit_code == 137

    def test_environment_is_added(self, transport: Transport) -> None:
        value = "two words, $HOME 'and' \"quotes\"\nand é"
        done = transport.run(["sh", "-c", 'printf %s "$THING"'], deadline_s=LONG_S, env={"THING": value}, stdin=b"")
        assert done.stdout.decode() == value

    def test_builtins_do_not_replace_programs(self, transport: Transport) -> None:
        # sh's own echo would act on the backslash.
        assert self.run(transport, "printf", "%s", r"a\tb").stdout == rb"a\tb"

    def test_a_program_name_may_hold_anything(self, transport: Transport, there: str) -> None:
        for name in ("a=b", "-dash", "a b", "quote'", "é"):
            path = f"{there}/{name}"
            assert self.run(transport, "sh", "-c", 'printf "#!/bin/sh\\necho ran" >"$1"; chmod 755 "$1"', "sh", path).ok
            done = transport.run([path], deadline_s=LONG_S, env={"A": "1"}, stdin=b"")
            assert (done.exit_code, done.stdout) == (0, b"ran\n"), name

    def test_stdin_arrives_and_ends(self, transport: Transport) -> None:
        sent = os.urandom(1 << 20)
        assert self.run(transport, "cat", stdin=sent).stdout == sent
        assert self.run(transport, "cat").stdout == b""

    def test_a_program_that_ignores_its_input_is_no_failure(self, transport: Transport) -> None:
        done = self.run(transport, "sh", "-c", "exec <&-; echo done", stdin=bytes(4 << 20))
        assert (done.exit_code, done.stdout) == (0, b"done\n")

    def test_much_output_on_both_at_once(self, transport: Transport) -> None:
        script = "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait"
        done = self.run(transport, "sh", "-c", script)
        assert (len(done.stdout), len(done.stderr), done.exit_code) == (3_000_000, 2_000_000, 0)

    def test_bytes_that_are_no_text_arrive(self, transport: Transport) -> None:
        done = self.run(transport, "printf", r"\377\376\000\012")
        assert done.stdout == b"\xff\xfe\x00\n"

    def test_output_closed_long_before_the_end(self, transport: Transport) -> None:
        assert self.run(transport, "sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 7").exit_code == 7

    @pytest.mark.parametrize(
        "script",
        [
            "sleep 600",
            "while :; do echo tick; sleep 0.1; done",
            "exec >&- 2>&-; sleep 600",
            "yes | head -c 1000000; sleep 600",
        ],
        ids=["silent", "trickling", "outputs closed", "much, then silent"],
    )
    def test_deadline_holds_whatever_is_printed(self, transport: Transport, script: str) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            self.run(transport, "sh", "-c", script, deadline_s=1.0)
        assert caught.value.command is not None
        assert "1 s" in caught.value.what
        assert self.run(transport, "echo", "still").stdout == b"still\n"

    def test_output_before_the_deadline_is_in_the_error(self, transport: Transport) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            self.run(transport, "sh", "-c", "echo last words; sleep 600", deadline_s=2.0)
        assert "last words" in caught.value.output

    def test_refuses_what_cannot_be_passed_on(self, transport: Transport) -> None:
        for argv in ([], [""], ["echo", "a\0b"]):
            with pytest.raises(ValueError, match=r"empty|NUL"):
                transport.run(argv, deadline_s=LONG_S, env={}, stdin=b"")
        with pytest.raises(ValueError, match="variable"):
            transport.run(["true"], deadline_s=LONG_S, env={"A=B": "c"}, stdin=b"")

    def test_arguments_arrive_unchanged_and_never_run(self, transport: Transport) -> None:
        # Inside, so that each transport's run is a test of its own to hypothesis.
        @settings(max_examples=10 if self.emulated else 40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(arguments=st.lists(ARGUMENT, min_size=1, max_size=5))
        def check(arguments: list[str]) -> None:
            done = self.run(transport, "printf", r"%s\0", *arguments)
            assert done.ok, done.stderr
            assert done.stdout == b"".join(argument.encode() + b"\0" for argument in arguments)

        check()

    @pytest.mark.parametrize("size", [0, 1, 65536, 3_000_001])
    def test_push_and_pull_bring_every_byte(self, transport: Transport, there: str, tmp_path: Path, size: int) -> None:
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(size))
        transport.push(source, f"{there}/copy", deadline_s=LONG_S)
        done = self.run(transport, "sha256sum", f"{there}/copy")
        assert done.stdout.split()[0].decode() == hashlib.sha256(source.read_bytes()).hexdigest()
        transport.pull(f"{there}/copy", back, deadline_s=LONG_S)
        assert back.read_bytes() == source.read_bytes()

    def test_push_replaces_a_longer_file(self, transport: Transport, there: str, tmp_path: Path) -> None:
        for content in (b"a long first version", b"short"):
            (tmp_path / "f").write_bytes(content)
            transport.push(tmp_path / "f", f"{there}/f", deadline_s=LONG_S)
        assert self.run(transport, "cat", f"{there}/f").stdout == b"short"

    @pytest.mark.parametrize(
        "name", ["two words", "quote'\"", "$(id)", "; id", "-n", "é日本", "a\nb", "back\\slash", "*"]
    )
    def test_file_names_arrive_unchanged(self, transport: Transport, there: str, tmp_path: Path, name: str) -> None:
        (tmp_path / "f").write_bytes(name.encode())
        transport.push(tmp_path / "f", f"{there}/{name}", deadline_s=LONG_S)
        assert self.run(transport, "cat", f"{there}/{name}").stdout == name.encode()
        transport.pull(f"{there}/{name}", tmp_path / "back", deadline_s=LONG_S)
        assert (tmp_path / "back").read_bytes() == name.encode()

    def test_push_into_nowhere_says_why(self, transport: Transport, there: str, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"x")
        with pytest.raises(TransferRefused, match=r"(?i)no such file|nonexistent"):
            transport.push(tmp_path / "f", f"{there}/no/such/folder/f", deadline_s=LONG_S)

    def test_a_full_disk_says_so(self, transport: Transport, there: str, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(bytes(100_000))
        with pytest.raises(TransferRefused, match=r"(?i)no space left") as caught:
            transport.push(tmp_path / "f", "/dev/full", deadline_s=LONG_S)
        assert caught.value.hint

    def test_pull_of_nothing_leaves_nothing(self, transport: Transport, there: str, tmp_path: Path) -> None:
        for remote in (f"{there}/missing", there):
            with pytest.raises(TransferRefused):
                transport.pull(remote, tmp_path / "back", deadline_s=LONG_S)
        assert list(tmp_path.iterdir()) == [] or not (tmp_path / "back").exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".back")]

    def test_pull_replaces_as_a_whole(self, transport: Transport, there: str, tmp_path: Path) -> None:
        (tmp_path / "back").write_bytes(b"before")
        with pytest.raises(TransferRefused):
            transport.pull(f"{there}/missing", tmp_path / "back", deadline_s=LONG_S)
        assert (tmp_path / "back").read_bytes() == b"before"
        self.run(transport, "sh", "-c", 'printf after >"$1"', "sh", f"{there}/new")
        transport.pull(f"{there}/new", tmp_path / "back", deadline_s=LONG_S)
        assert (tmp_path / "back").read_bytes() == b"after"
        assert stat.S_IMODE((tmp_path / "back").stat().st_mode) & 0o400

    def test_close_twice_and_use_again(self, transport: Transport) -> None:
        assert self.run(transport, "echo", "one").stdout == b"one\n"
        transport.close()
        transport.close()
        assert self.run(transport, "echo", "two").stdout == b"two\n"
