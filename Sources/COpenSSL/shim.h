// OpenSSL for Swift: what the headers offer, and static-inline shims where they offer only macros or pointer juggling.
// Unsafe memory of the TLS room lives here and nowhere else.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// ---- Why a certificate was refused, as the verification found it ----

struct meridian_tls_refusal {
    int code;             // X509_V_ERR_…, 0 when nothing was refused
    int depth;            // 0 is the peer's own certificate
    int64_t not_before;   // seconds since 1970
    int64_t not_after;    // seconds since 1970
    char subject[256];
    char issuer[256];
};

static inline int64_t meridian_asn1_seconds(const ASN1_TIME *time) {
    struct tm parts;
    if (!time || !ASN1_TIME_to_tm(time, &parts)) return 0;
    return (int64_t)timegm(&parts);
}

static inline int meridian_tls_verify(int fine, X509_STORE_CTX *store) {
    if (fine) return 1;
    SSL *ssl = (SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct meridian_tls_refusal *refusal = ssl ? (struct meridian_tls_refusal *)SSL_get_app_data(ssl) : NULL;
    if (!refusal || refusal->code) return 0;
    refusal->code = X509_STORE_CTX_get_error(store);
    refusal->depth = X509_STORE_CTX_get_error_depth(store);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    if (certificate) {
        refusal->not_before = meridian_asn1_seconds(X509_get0_notBefore(certificate));
        refusal->not_after = meridian_asn1_seconds(X509_get0_notAfter(certificate));
        X509_NAME_oneline(X509_get_subject_name(certificate), refusal->subject, sizeof refusal->subject);
        X509_NAME_oneline(X509_get_issuer_name(certificate), refusal->issuer, sizeof refusal->issuer);
    }
    return 0;
}

// A key file with a passphrase is an error; without this, OpenSSL would ask at the terminal.
static inline int meridian_tls_no_passphrase(char *text, int room, int writing, void *context) {
    (void)text;
    (void)room;
    (void)writing;
    (void)context;
    return -1;
}

// ---- Contexts ----

// TLS 1.3 only, both sides with certificates, no tickets and no resumption: every connection proves itself anew.
static inline SSL_CTX *meridian_tls_context_new(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, meridian_tls_verify);
    SSL_CTX_set_default_passwd_cb(context, meridian_tls_no_passphrase);
    return context;
}

// What clients meet: TLS 1.2 or 1.3, forward secrecy and authenticated encryption only, tickets but no memory of sessions.
static inline SSL_CTX *meridian_tls_listener_context_new(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) return NULL;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL");
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // Tickets are sealed with keys of this context alone, so the name need not tell contexts apart; OpenSSL wants one.
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"meridian", 8);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, meridian_tls_no_passphrase);
    return context;
}

// Demands certificates of clients; the names of their authorities are told to them.
static inline int meridian_tls_listener_demand(SSL_CTX *context, const char *authority) {
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(authority);
    if (!names) return 0;
    SSL_CTX_set_client_CA_list(context, names);
    if (SSL_CTX_load_verify_file(context, authority) != 1) return 0;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, meridian_tls_verify);
    return 1;
}

// ---- Certificates ----

// The certificate's subject alternative names of type URI, joined by line feeds; returns their number, or -1 when they
// do not fit or one holds a zero byte or a line feed.
static inline int meridian_certificate_uris(X509 *certificate, char *text, size_t room) {
    int count = 0;
    size_t used = 0;
    text[0] = 0;
    GENERAL_NAMES *names = (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    if (!names) return 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) continue;
        size_t length = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
        const char *bytes = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        if (memchr(bytes, 0, length) || memchr(bytes, '\n', length) || used + length + 2 > room) {
            count = -1;
            break;
        }
        if (count) text[used++] = '\n';
        memcpy(text + used, bytes, length);
        used += length;
        text[used] = 0;
        count++;
    }
    GENERAL_NAMES_free(names);
    return count;
}

static inline int64_t meridian_certificate_not_after(X509 *certificate) {
    return meridian_asn1_seconds(X509_get0_notAfter(certificate));
}

// ---- Sessions ----

// Memory for ciphertext on its way: empty, it is waited for more.
static inline BIO *meridian_tls_wire_new(void) {
    BIO *wire = BIO_new(BIO_s_mem());
    if (wire) BIO_set_mem_eof_return(wire, -1);
    return wire;
}

static inline SSL *meridian_tls_session_new(SSL_CTX *context, int accepting, struct meridian_tls_refusal *refusal) {
    SSL *ssl = SSL_new(context);
    BIO *in = meridian_tls_wire_new();
    BIO *out = meridian_tls_wire_new();
    if (!ssl || !in || !out) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    SSL_set_bio(ssl, in, out);
    SSL_set_app_data(ssl, refusal);
    if (accepting) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}

// Hands over ciphertext that arrived; memory is the only thing that can stop it.
static inline int meridian_tls_feed(SSL *ssl, const void *bytes, int count) {
    return BIO_write(SSL_get_rbio(ssl), bytes, count) == count;
}

// A memory BIO never shrinks: an empty one is replaced by a new one. Where there is no memory for that, it stays.
static inline void meridian_tls_give_back(SSL *ssl) {
    BIO *in = BIO_ctrl_pending(SSL_get_rbio(ssl)) ? NULL : meridian_tls_wire_new();
    BIO *out = BIO_ctrl_pending(SSL_get_wbio(ssl)) ? NULL : meridian_tls_wire_new();
    if (in) SSL_set0_rbio(ssl, in);
    if (out) SSL_set0_wbio(ssl, out);
}

// Ciphertext that waits to be sent.
static inline int meridian_tls_waiting(SSL *ssl) { return (int)BIO_ctrl_pending(SSL_get_wbio(ssl)); }

static inline int meridian_tls_fetch(SSL *ssl, void *bytes, int count) { return BIO_read(SSL_get_wbio(ssl), bytes, count); }

// One step of a session's work; the queue of errors is emptied first, as SSL_get_error demands.
static inline int meridian_tls_handshake(SSL *ssl) {
    ERR_clear_error();
    int done = SSL_do_handshake(ssl);
    return done == 1 ? 0 : SSL_get_error(ssl, done);
}

static inline int meridian_tls_read(SSL *ssl, void *bytes, size_t count, size_t *done) {
    ERR_clear_error();
    *done = 0;
    int fine = SSL_read_ex(ssl, bytes, count, done);
    return fine == 1 ? 0 : SSL_get_error(ssl, fine);
}

// True when part of a record has arrived: of its header, which is still buffered, or of its body, which a whole header announced.
static inline int meridian_tls_is_halfway(SSL *ssl) {
    return SSL_has_pending(ssl) || strcmp(SSL_rstate_string(ssl), "RB") == 0;
}

static inline int meridian_tls_write(SSL *ssl, const void *bytes, size_t count, size_t *done) {
    ERR_clear_error();
    *done = 0;
    int fine = SSL_write_ex(ssl, bytes, count, done);
    return fine == 1 ? 0 : SSL_get_error(ssl, fine);
}

// The newest reason in the queue of errors: the number within its library, and the words.
static inline int meridian_tls_last_reason(char *text, size_t room) {
    unsigned long error = ERR_peek_last_error();
    const char *words = ERR_reason_error_string(error);
    snprintf(text, room, "%s", words ? words : "no reason given");
    int reason = ERR_GET_REASON(error);
    ERR_clear_error();
    return reason;
}

// The oldest reason in the queue: for files, where the first failure explains the later ones.
static inline int meridian_tls_first_reason(char *text, size_t room) {
    unsigned long error = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(error)) {
        if (strerror_r(ERR_GET_REASON(error), text, room) != 0) snprintf(text, room, "error %d", ERR_GET_REASON(error));
    } else {
        const char *words = ERR_reason_error_string(error);
        snprintf(text, room, "%s", words ? words : "no reason given");
    }
    int reason = ERR_GET_REASON(error);
    ERR_clear_error();
    return reason;
}

// `2026-11-22 11:31 UTC`
static inline void meridian_date_text(int64_t seconds, char *text, size_t room) {
    time_t moment = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&moment, &parts) || !strftime(text, room, "%Y-%m-%d %H:%M UTC", &parts)) snprintf(text, room, "an unknown date");
}
