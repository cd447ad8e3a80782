/* Control of one's own checkpoints, for a program that runs under wrr: the interface of wit/control.wit.
 *
 *     unsigned attempt = wrr_checkpoint("before the guess");
 *     if (7 * attempt < 21)
 *         wrr_rollback("before the guess");   // goes back to the first line, with another attempt
 *
 * With WRR_NO_HOST defined, and on other targets than WebAssembly, nothing is imported, and the functions do what they
 * would under a runtime without checkpoints: nobody goes back and nobody forks.
 *
 * wrr_branch needs malloc: a program that calls it defines WRR_REALLOC in one of its files before it includes this one. */
#ifndef WRR_H
#define WRR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Why a rollback did not happen. */
enum wrr_failure {
    WRR_UNKNOWN = 0, /* There is no checkpoint of this name. */
    WRR_GONE = 1,    /* There was one, which whoever runs the program has dropped. */
};

/* What a fork is given. */
struct wrr_branch_data {
    uint8_t some; /* 0 in a run that is no fork */
    uint8_t *bytes; /* to be freed */
    size_t len;
};

#if defined(__wasm__) && !defined(WRR_NO_HOST)

#define WRR_IMPORT(name) \
    __attribute__((import_module("wrr:guest/control@0.1.0"), import_name(#name)))

WRR_IMPORT(checkpoint) uint32_t wrr_import_checkpoint(const char *name, size_t len);
WRR_IMPORT(rollback) uint32_t wrr_import_rollback(const char *name, size_t len);
WRR_IMPORT(mark) void wrr_import_mark(const char *name, size_t len);
WRR_IMPORT(branch)
void wrr_import_branch(const char *name, size_t len, struct wrr_branch_data *data);

/* Keeps the program's state under a name. 0 at first, n after the n-th rollback to it. */
static inline uint32_t wrr_checkpoint(const char *name) {
    return wrr_import_checkpoint(name, strlen(name));
}

/* Goes back to where the checkpoint of this name was taken. Returns only if that cannot be done. */
static inline enum wrr_failure wrr_rollback(const char *name) {
    return (enum wrr_failure)wrr_import_rollback(name, strlen(name));
}

/* Gives this moment a name: wrr replay run.wrr --goto @name. */
static inline void wrr_mark(const char *name) { wrr_import_mark(name, strlen(name)); }

/* Returns once in this run, and again, with data, in every fork that `wrr branch` makes. */
static inline struct wrr_branch_data wrr_branch(const char *name) {
    struct wrr_branch_data data = {0, NULL, 0};
    wrr_import_branch(name, strlen(name), &data);
    return data;
}

#ifdef WRR_REALLOC
#include <stdlib.h>
__attribute__((export_name("cabi_realloc"))) void *wrr_cabi_realloc(void *old, size_t old_len,
                                                                    size_t align, size_t len) {
    (void)old_len;
    (void)align;
    return len ? realloc(old, len) : old;
}
#endif

#else

static inline uint32_t wrr_checkpoint(const char *name) {
    (void)name;
    return 0;
}
static inline enum wrr_failure wrr_rollback(const char *name) {
    (void)name;
    return WRR_UNKNOWN;
}
static inline void wrr_mark(const char *name) { (void)name; }
static inline struct wrr_branch_data wrr_branch(const char *name) {
    (void)name;
    return (struct wrr_branch_data){0, NULL, 0};
}

#endif
#endif
