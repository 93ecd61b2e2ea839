"""The shell's work: texts to statements and meta-commands, one after the other; what goes wrong is told, and it goes on."""

from __future__ import annotations

import io
import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlstream.cli.arguments import Settings
from sqlstream.cli.terminal import Terminal
from sqlstream.errors import Canceled, InternalError, RunError, SqlStreamError
from sqlstream.shell import calls
from sqlstream.shell.reader import inputs, is_meta

if TYPE_CHECKING:
    from sqlstream.session import Session
    from sqlstream.shell.background import BackgroundJob
    from sqlstream.sql import statements as st
    from sqlstream.sql.source import Source
    from sqlstream.sql.splitter import Piece

T = TypeVar("T")
_OWN_WORDS = ("HELP", "QUIT", "EXIT", "CLEAR", "SOURCE", "RUN")  # of statements that are the shell's own


class Leave(Exception):
    """The user leaves the shell."""


class Shell:
    """One session, on a terminal or not (`interactive`). `database`: the directory where its catalog is kept."""

    def __init__(self, settings: Settings, terminal: Terminal, interactive: bool, database: str | None = None) -> None:
        self.settings = settings
        self.terminal = terminal
        self.interactive = interactive
        self.database = database
        self.expanded = False  # a value a line, whatever the mode says
        self.output: Path | None = None  # the file that rows go to
        self.paged = settings.pager  # whether results longer than the screen are shown by a pager
        self.last_text = ""  # of the last statements
        self.last_query = ""
        self.jobs: list[BackgroundJob] = []  # that this shell has started
        self.failed = False  # whether the last input did
        self.stopped = False  # whether its last result was left before its end
        self.loading: threading.Thread | None = None  # what imports the engine while the first prompt is there
        self._session: Session | None = None
        self._nested = 0  # files that are read within files

    # ---- the session

    @property
    def session(self) -> Session:
        """The session; it is made when it is asked for first. OptionError where an option of the command line is wrong."""
        if self._session is None:
            from sqlstream.session import Session

            self._session = Session(
                None if self.database is None else Path(self.database),
                options=self.settings.options,
                fresh=self.settings.fresh,
                on_message=self.terminal.say,
                allowed=self.settings.allowed,
            )
        return self._session

    @property
    def ready_session(self) -> Session | None:
        """The session, if it is there already."""
        return self._session

    @property
    def loaded_session(self) -> Session | None:
        """The session, unless the engine is still being loaded: for who must not wait."""
        if self._session is None and (self.loading is None or self.loading.is_alive()):
            return None
        return self.session

    def call(self, work: Callable[[], T]) -> T:
        """Work of the session that Ctrl-C ends, and a second Ctrl-C leaves behind: then the session is another one with the
        same catalog and options."""
        session = self.session
        try:
            return calls.call(work, session.cancel)
        except calls.Abandoned:
            self._session = session.twin()
            self.terminal.say("it did not end, and was left behind")
            raise
        except calls.Interrupted:
            session.resume()
            raise

    # ---- inputs

    def run(self, text: str, source: str | None = None) -> bool:
        """Runs an input; False when something in it went wrong, which was told. `Leave` when it says so."""
        self.failed = True
        try:
            if is_meta(text):
                self._command(text.strip())
            else:
                self._statements(text, source)
            self.failed = False
        except (Leave, BrokenPipeError):
            raise
        except (calls.Interrupted, Canceled, KeyboardInterrupt):
            self.terminal.progress("")
            self.terminal.say("\ncanceled" if self.interactive else "canceled")  # behind ^C
        except (SqlStreamError, OSError) as e:
            self._tell(e)
        except Exception as e:
            self._tell(e if isinstance(e, InternalError) else InternalError(f"{type(e).__name__}: {e}"))
        return not self.failed

    def _tell(self, e: BaseException) -> None:
        debug = self.settings.debug or (self._session is not None and self._session.settings.verbose)
        if debug:
            self.terminal.say(traceback.format_exc().rstrip())
        if isinstance(e, InternalError):
            more = "" if debug else "; SET 'sql-client.verbose' = 'true' shows the traceback"
            self.terminal.error(f"internal error: {e}{more}")
        elif isinstance(e, OSError) and not isinstance(e, SqlStreamError):
            self.terminal.error(f"{e.filename}: {e.strerror}" if e.filename else str(e.strerror or e))
        else:
            self.terminal.error(str(e))

    def run_file(self, name: str) -> None:
        """Runs the inputs of a file; ends at the first that fails. RunError where it cannot be read."""
        path = Path(os.path.expanduser(name))
        if self._nested > 20:
            raise RunError(f"{name}: files within files are too many: does it read itself?")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as e:
            raise RunError(f"{name} cannot be read: {e.strerror}") from None
        except UnicodeDecodeError as e:
            raise RunError(f"{name} cannot be read: it is not UTF-8 (byte {e.start})") from None
        self._nested += 1
        try:
            # not splitlines(), for which more than \n ends lines, also within strings
            for found in inputs(io.StringIO(text)):
                if not self.run(found, str(path)):
                    raise RunError(f"{name} was read up to here")
        finally:
            self._nested -= 1

    def _command(self, text: str) -> None:
        from sqlstream.shell.commands import run_command

        run_command(self, text)

    def _statements(self, text: str, source: str | None) -> None:
        """Each statement is read when those before it have run: a SET among them says how."""
        from sqlstream.shell.commands import run_word
        from sqlstream.sql.source import Source
        from sqlstream.sql.splitter import split, substitute

        if self.settings.variables:
            text = substitute(text, self.settings.variables, source)
        script = Source(text, source)
        for piece in split(script):
            word = piece.tokens[0].key
            if word in _OWN_WORDS or text.strip() == "?":
                run_word(self, piece.text)
                continue
            self.last_text = piece.text
            try:
                self._statement(script, piece)
            except SqlStreamError as e:
                raise e.located(text, source) from None

    def _statement(self, script: Source, piece: Piece) -> None:
        from sqlstream.shell import results
        from sqlstream.sql import statements as st
        from sqlstream.sql.parser import parse_piece

        statement = parse_piece(script, piece, self.session.settings.dialect)
        if isinstance(statement, st.Select):
            self.last_query = piece.text
        if self._goes_on(statement):
            from sqlstream.shell.background import start

            start(self, statement)
            return
        with results.watched(self):
            result = self.call(lambda: self.session.statement(statement))
        result.place = (script.text, script.name, statement.position)
        results.show(self, result)

    def _goes_on(self, statement: st.Statement) -> bool:
        """Whether a statement becomes a job of its own."""
        from sqlstream.shell.background import writes

        return self.interactive and not self.settings.check and writes(self, statement)

    # ---- what completion and meta-commands ask

    def query(self, text: str) -> Any:
        """The result of a statement of the shell's own, such as SHOW TABLES."""
        session = self.session
        return self.call(lambda: session.statement(session.parse(text)))
