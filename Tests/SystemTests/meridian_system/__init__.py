"""Black-box tests and the demo of Meridian: real processes, real sockets, real TLS, nothing but Python's standard library.

The modules, from the ground up:

processes      start, pause, kill and take down real processes; nothing outlives the script
namespaces     a network of its own for each site, and a wire between them that can be cut
client         a small memcached text client, blocking, pipelining
memcached      memcached processes
federation     two sites of proxies and memcacheds: files, certificates, start, stop
admin          what a proxy's admin endpoint and the `meridian` command line say
load           many clients in several processes: a mixed load, and a ledger that knows what was acknowledged
compare        two sites, key by key, through their memcacheds
checks_*       what `Sites/demo --check` shows, and what the suite does besides
php            PHP processes with either memcached extension, for checks_php
binary_*       packets of the binary protocol, and conversations made of them, for checks_binary
differential   the same bytes to a memcached and to a proxy in front of one
suite          the system tests that `Tests/run` runs
demo           what `Sites/demo` runs
"""
