/* A plugin for QEMU (plugin API 1: 6 to 9) that counts the aarch64 instructions between markers.
 *
 *     gcc -O2 -shared -fPIC -o count.so count.c
 *     qemu-aarch64 -cpu cortex-a72 -plugin ./count.so,out=counts.txt PROGRAM ...
 *
 * A marker is `hint #112`, which does nothing on hardware. Each writes a line to `out`, and so does the end of the program: the instructions
 * since the one before. Blocks are counted as they begin, so a stretch may be off by the block that its marker stands in. One thread only. The declarations are those of the
 * documented interface. */
#include <inttypes.h>
#include <stdio.h>
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
static uint64_t executed, before;
static FILE *out;

static void marked(unsigned cpu, void *data)
{
    (void)cpu, (void)data;
    fprintf(out, "%" PRIu64 "\n", executed - before);
    fflush(out);
    before = executed;
}

static void ended(uint64_t id, void *data)
{
    (void)id;
    marked(0, data);
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD, &executed, count);
    for (size_t at = 0; at < count; at++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, at);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        if (word == MARKER)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, marked, NO_REGISTERS, NULL);
    }
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    out = stderr;
    for (int at = 0; at < argc; at++) {
        if (strncmp(argv[at], "out=", 4)) {
            fprintf(stderr, "count: unknown option %s\n", argv[at]);
            return 1;
        }
        if (!(out = fopen(argv[at] + 4, "w"))) {
            perror(argv[at] + 4);
            return 1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
