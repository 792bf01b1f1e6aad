"""The benchmarks: pairs of proxies in front of the same memcached servers, in one run, A B A B.

The modules, from the ground up:

cases       what can be measured: the load of each case
machine     what it is measured on, in words
loader      runs the load generator, meridian-load
subjects    what is measured: meridiand, nutcracker (twemproxy), a bare memcached; their processes
rounds      runs a case, round by round, and sums its rounds up
lag         how long a write takes to be read at the other site, while a load runs
delays      lag by load
memory      resident memory for each idle client connection
journal     the write log: appending, and recovery after kill -9
tables      the figures, aligned for a terminal and as Markdown
main        the command line

They stand on the processes and federations of the system tests (`meridian_system`).
"""
