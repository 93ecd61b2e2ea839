"""The prompt: a text is edited until it is whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, has_focus, is_searching
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.output import ColorDepth

from sqlstream.shell.completion import StatementCompleter
from sqlstream.shell.highlight import STYLE, StatementLexer
from sqlstream.shell.history import StatementHistory
from sqlstream.shell.reader import is_whole

if TYPE_CHECKING:
    from sqlstream.shell.shell import Shell

PROMPT = "sqlstream> "
MORE = "-> "


class Prompt:
    """Reads one text after the other."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        coloured = shell.terminal.paints
        self._session: PromptSession[str] = PromptSession(
            [("class:prompt", PROMPT)],
            multiline=True,
            prompt_continuation=lambda width, line, wrapped: [("class:continuation", MORE.rjust(width))],
            lexer=PygmentsLexer(StatementLexer) if coloured else None,
            style=STYLE,
            color_depth=None if coloured else ColorDepth.DEPTH_1_BIT,
            completer=StatementCompleter(shell),
            complete_while_typing=Condition(self._completes),
            history=StatementHistory(),
            auto_suggest=AutoSuggestFromHistory(),
            key_bindings=_bindings(),
            enable_open_in_editor=True,
            tempfile_suffix=".sql",
        )

    def _completes(self) -> bool:
        session = self._shell.ready_session
        return session is not None and session.settings.complete_typing

    def read(self) -> str | None:
        """A whole text; "" when Ctrl-C took it away; None at Ctrl-D."""
        session = self._shell.ready_session
        vi = session is not None and session.settings.editing_mode == "vi"
        self._session.editing_mode = EditingMode.VI if vi else EditingMode.EMACS
        try:
            return self._session.prompt()
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None


def _bindings() -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER) & ~is_searching

    @keys.add("enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        """Takes a completion that is chosen; runs a text that is whole; else begins a line, indented as the one before."""
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        elif is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=True)

    @keys.add("escape", "enter", filter=typing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("f2", filter=typing)
    def _(event: KeyPressEvent) -> None:
        os.environ.setdefault("EDITOR", "vi")
        result: Any = event.current_buffer.open_in_editor()
        assert result is not None

    return keys
