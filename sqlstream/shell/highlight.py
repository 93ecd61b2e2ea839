"""Colours of statements and meta-commands while they are typed."""

from __future__ import annotations

from typing import ClassVar

from prompt_toolkit.styles import Style
from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Punctuation, String, Text

from sqlstream.shell.vocabulary import KEYWORDS


class StatementLexer(RegexLexer):  # type: ignore[misc]  # Pygments is untyped to mypy
    """Flink SQL, also unfinished: what does not end is coloured to the end of the text."""

    name = "Flink SQL"
    flags = 2 | 16  # re.IGNORECASE | re.DOTALL
    tokens: ClassVar = {
        "root": [
            (r"\A\s*[\\.!]\S*", Name.Builtin),
            (r"--[^\n]*", Comment.Single),
            (r"/\*\+", Comment.Preproc),
            (r"/\*.*?(\*/|\Z)", Comment.Multiline),
            (r"'(?:[^']|'')*+(?:'|\Z)", String),
            (r"`[^`]*+(?:`|\Z)", Name),
            (r"\d+(\.\d*)?(e[+-]?\d+)?", Number),
            (words(KEYWORDS, suffix=r"\b"), Keyword),
            (r"[^\W\d]\w*(?=\s*\()", Name.Function),
            (r"[^\W\d]\w*", Name),
            (r"[-+*/%=<>|!:]+", Operator),
            (r"[(),.;\[\]{}]", Punctuation),
            (r"\s+", Text),
            (r".", Error),
        ]
    }


STYLE = Style.from_dict(
    {
        "pygments.keyword": "bold ansiblue",
        "pygments.literal.string": "ansigreen",
        "pygments.literal.number": "ansicyan",
        "pygments.name.function": "ansimagenta",
        "pygments.name.builtin": "bold ansiyellow",
        "pygments.comment": "ansibrightblack",
        "pygments.error": "ansired",
        "prompt": "bold",
        "continuation": "ansibrightblack",
        "auto-suggestion": "ansibrightblack",
    }
)
