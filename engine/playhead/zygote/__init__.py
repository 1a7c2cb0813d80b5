"""The zygote: a warm process with one thread, which becomes runners by forking. A run pays for no interpreter and no imports.

`Zygote` in `handle` is what an agent holds of one; `__main__` is the process; `child` is what a fork does to become a runner. It
has imported what a runner needs and nothing of the user's, and holds no key, loop, lock, thread or file of ours that a runner
could inherit. Linux only: elsewhere, and where one cannot be had, agents start fresh interpreters. DURABILITY.md section 6.
"""
