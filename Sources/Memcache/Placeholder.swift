// Memcache
