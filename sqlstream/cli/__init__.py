"""The command `sqlstream`, on a session.

main.py, parser.py, arguments.py               arguments to a subcommand; what was meant; exit statuses
run.py, submit.py, jobs.py, status.py, …       the subcommands, a module each
of_jobs.py, job_log.py                         what those about jobs share; the log of a job that runs by itself
records.py                                     what commands list, in the forms of --output
sources.py                                     files and folders of those that read scripts and run none
script.py                                      scripts run: results written, jobs watched, signals heeded
terminal.py, output.py, text.py, progress.py   what is shown: rows on standard output, all else on standard error
checkups.py                                    what doctor looks at
starter/                                       what init writes
messages.py                                    less of it (-q), or as JSON (log.format)
"""
