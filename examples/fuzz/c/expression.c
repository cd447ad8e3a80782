/* A fuzz target in C: an evaluator of arithmetic expressions with the variables a to z.
 *
 *   expression := term (('+' | '-') term)*
 *   term       := factor (('*' | '/' | '%') factor)*
 *   factor     := number | variable | '-' factor | '(' expression ')'
 *   input      := (variable '=')? expression, in lines
 *
 * Bug 13: '/' looks at what it divides by, '%' does not. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEPTH_MAX = 32, VARIABLES = 26 };

struct parser {
    const uint8_t *at, *end;
    int depth;
    bool failed;
};

static int32_t initial[VARIABLES];
static int32_t variables[VARIABLES];

static int32_t expression(struct parser *p);

/* The next character that is no space, or 0 at the end. */
static int peek(struct parser *p) {
    while (p->at < p->end && *p->at == ' ') p->at++;
    return p->at < p->end ? *p->at : 0;
}

static bool accept(struct parser *p, int c) {
    if (peek(p) != c || c == 0) return false;
    p->at++;
    return true;
}

static int32_t fail(struct parser *p) {
    p->failed = true;
    return 0;
}

/* Everything but division is done unsigned, where too large a result wraps around. */
static int32_t divide(struct parser *p, int32_t left, int32_t right) {
    if (right == 0) return fail(p);
    if (right == -1) return (int32_t)(0 - (uint32_t)left);
    return left / right;
}

/* Bug: the right side may be 0. */
__attribute__((noinline)) static int32_t bug_13_remainder(int32_t left, int32_t right) {
    return right == -1 ? 0 : left % right;
}

static int32_t factor(struct parser *p) {
    int c = peek(p);
    int32_t value;
    if (p->depth == DEPTH_MAX) return fail(p);
    p->depth++;
    if (accept(p, '-')) {
        value = (int32_t)(0 - (uint32_t)factor(p));
    } else if (accept(p, '(')) {
        value = expression(p);
        if (!accept(p, ')')) fail(p);
    } else if (c >= 'a' && c <= 'z') {
        p->at++;
        value = variables[c - 'a'];
    } else if (c >= '0' && c <= '9') {
        uint32_t number = 0;
        while (p->at < p->end && *p->at >= '0' && *p->at <= '9') number = number * 10 + (*p->at++ - '0');
        value = (int32_t)number;
    } else {
        value = fail(p);
    }
    p->depth--;
    return value;
}

static int32_t term(struct parser *p) {
    int32_t value = factor(p);
    while (!p->failed) {
        if (accept(p, '*')) value = (int32_t)((uint32_t)value * (uint32_t)factor(p));
        else if (accept(p, '/')) value = divide(p, value, factor(p));
        else if (accept(p, '%')) {
            int32_t right = factor(p);
            if (!p->failed) value = bug_13_remainder(value, right);
        } else break;
    }
    return value;
}

static int32_t expression(struct parser *p) {
    int32_t value = term(p);
    while (!p->failed) {
        if (accept(p, '+')) value = (int32_t)((uint32_t)value + (uint32_t)term(p));
        else if (accept(p, '-')) value = (int32_t)((uint32_t)value - (uint32_t)term(p));
        else break;
    }
    return value;
}

/* Runs once, before the first input: a is 1, b is 2 and so on. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < VARIABLES; i++) initial[i] = i + 1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct parser p = {data, data + size, 0, false};
    if (initial[0] != 1) __builtin_trap(); /* LLVMFuzzerInitialize has not run. */
    for (int i = 0; i < VARIABLES; i++) variables[i] = initial[i];
    while (!p.failed && p.at < p.end) {
        const uint8_t *start = p.at;
        int c = peek(&p);
        int32_t *target = NULL;
        if (c >= 'a' && c <= 'z') {
            p.at++;
            if (accept(&p, '=')) target = &variables[c - 'a'];
            else p.at = start;
        }
        int32_t value = expression(&p);
        if (p.failed) break;
        if (target) *target = value;
        if (p.at < p.end && !accept(&p, '\n')) break;
    }
    return 0;
}
