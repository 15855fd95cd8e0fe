"""Where and how the tasks of a plan are computed: in this process, in worker processes, in groups."""
