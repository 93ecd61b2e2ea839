"""The shell: `sqlstream`, or `sqlstream shell`, on a terminal.

    prompt.py       reads a text: editing, highlight.py, completion.py, history.py
    reader.py       lines to inputs: meta-commands, and texts of statements
    shell.py        runs inputs: commands.py (meta-commands), statements by the session
    results.py      shows rows: forms of `cli/output.py`, or live.py over current.py
    background.py   an INSERT as a job of its own
    pager.py        results that are longer than the screen
    calls.py        work that Ctrl-C ends, or leaves behind

Only the shell imports prompt_toolkit and Pygments, and it imports the engine while the prompt is already there.
"""
