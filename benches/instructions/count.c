/* A plugin for QEMU (plugin API 1: 6 to 9) that counts the aarch64 instructions between markers.
 *
 *     gcc -O2 -shared -fPIC -o count.so count.c
 *     qemu-aarch64 -cpu cortex-a72 -plugin ./count.so,out=counts.txt[,blocks=blocks.txt] PROGRAM ...
 *
 * A marker is `hint #112`, which does nothing on hardware. Each writes a line to `out`, and so does the end of the program: the instructions
 * since the one before. Blocks are counted as they begin, so a stretch may be off by the block that its marker stands in. `blocks` gets, for each
 * block that ran between the first marker and the last, how often, and its instructions in hexadecimal. One thread only. The declarations are those
 * of the documented interface. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t, void (*)(uint64_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_atexit_cb(uint64_t, void (*)(uint64_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { INLINE_ADD = 0, NO_REGISTERS = 0 };

static const uint32_t MARKER = 0xd503201fu + (112u << 5);

/* A translated block: how often it ran, at the first marker, and at the last one. */
struct block {
    struct block *next;
    uint64_t runs, first, last;
    size_t count;
    uint32_t words[];
};

static struct block *all;
static uint64_t executed, before;
static int is_marked;
static FILE *out, *blocks;

static void tell(void)
{
    fprintf(out, "%" PRIu64 "\n", executed - before);
    fflush(out);
    before = executed;
}

static void marked(unsigned cpu, void *data)
{
    (void)cpu, (void)data;
    tell();
    for (struct block *block = all; blocks && block; block = block->next) {
        block->last = block->runs;
        if (!is_marked)
            block->first = block->runs;
    }
    is_marked = 1;
}

static void ended(uint64_t id, void *data)
{
    (void)id, (void)data;
    tell();
    for (struct block *block = all; blocks && block; block = block->next) {
        if (block->last == block->first)
            continue;
        fprintf(blocks, "%" PRIu64, block->last - block->first);
        for (size_t at = 0; at < block->count; at++)
            fprintf(blocks, " %08" PRIx32, block->words[at]);
        fprintf(blocks, "\n");
    }
    if (blocks)
        fclose(blocks);
}

static void translated(uint64_t id, struct qemu_plugin_tb *code)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(code);
    struct block *block = calloc(1, sizeof *block + count * sizeof block->words[0]);
    block->count = count;
    block->next = all;
    all = block;
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &executed, count);
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &block->runs, 1);
    for (size_t at = 0; at < count; at++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(code, at);
        memcpy(&block->words[at], qemu_plugin_insn_data(instruction), sizeof block->words[at]);
        if (block->words[at] == MARKER)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, NO_REGISTERS, NULL);
    }
}

static FILE *opened(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        perror(path);
    return file;
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    out = stderr;
    for (int at = 0; at < argc; at++) {
        FILE **file = !strncmp(argv[at], "out=", 4) ? &out : !strncmp(argv[at], "blocks=", 7) ? &blocks : NULL;
        if (!file) {
            fprintf(stderr, "count: unknown option %s\n", argv[at]);
            return 1;
        }
        if (!(*file = opened(strchr(argv[at], '=') + 1)))
            return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
