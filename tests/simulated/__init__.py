"""A world for jobs in which nothing happens by chance: its clock, threads, disk and store follow from a seed."""
