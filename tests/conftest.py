"""A suite started in the background of a script has Ctrl-C ignored, and so has all that it starts; tests send it."""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
