/*
 * A QEMU TCG plugin that counts the instructions a program executes.
 *
 * Each translated block adds its number of instructions when it is entered: every instruction counts, none is sampled.
 * The program asks for the count so far with prctl(MARK, FD, 0, 0, 0): eight bytes, this machine's byte order, are
 * written to its file descriptor FD before the system call, which the kernel refuses with EINVAL, goes on. A system call
 * ends a block, so a mark lies exactly between two instructions. A program that never asks gets its total on stderr.
 *
 * All threads add to one number without a lock: it is exact for a program with one running thread, and only for that.
 *
 * QEMU's plugin interface, version 1 (QEMU 6.0 to 8.2). Its header is in no Debian package, so what is used of it is
 * declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info {
    const char *target_name; /* what follows in the real structure is not read */
};
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op, void *ptr,
                                                     uint64_t imm);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id,
                                                 void (*cb)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t,
                                                            uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                            uint64_t));
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *), void *data);

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x706f636bu /* "pock", which is no option of prctl; harness/agents/count_agent.py has it too */
#define PRCTL_ARM 172
#define PRCTL_AARCH64 167

EXPORT int qemu_plugin_version = 1;

static uint64_t executed;
static bool asked;
static int64_t prctl_number;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(tb));
}

static void called(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == prctl_number && (uint32_t)a1 == MARK) {
        uint64_t now = executed;
        asked = true;
        /* A mark that cannot be written is missed by the program that reads it: nothing to do about it here. */
        if (write((int)a2, &now, sizeof now) != sizeof now)
            return;
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    if (!asked)
        fprintf(stderr, "%" PRIu64 " instructions\n", executed);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)argc, (void)argv;
    if (strcmp(info->target_name, "aarch64") == 0)
        prctl_number = PRCTL_AARCH64;
    else if (strcmp(info->target_name, "arm") == 0)
        prctl_number = PRCTL_ARM;
    else
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
