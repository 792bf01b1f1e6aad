// OpenSSL for Swift: what the headers offer, and static-inline shims where they offer only macros.
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
