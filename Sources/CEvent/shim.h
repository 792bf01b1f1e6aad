// libevent for Swift: what the headers offer, and static-inline shims where they offer only macros.
#pragma once
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
