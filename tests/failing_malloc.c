/* An allocator in front of that of the C library, by LD_PRELOAD, which refuses memory to one process when a test asks.
   The test and the process share a page: see failing_malloc.py. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct orders {
    uint32_t pid;       /* of the process that is to be refused; 0: none */
    uint32_t nth;       /* refuse each nth request of those that count */
    uint64_t least;     /* only requests of so many bytes count ... */
    uint64_t most;      /* ... up to so many */
    uint64_t times;     /* refuse so many requests in all */
    uint64_t counted;
    uint64_t refused;
};

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static struct orders *orders;

__attribute__((constructor)) static void join(void) {
    const char *path = getenv("FAILING_MALLOC");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        orders = page;
    if (fd >= 0)
        close(fd);
}

static int refuses(size_t size) {
    if (orders == NULL || orders->pid == 0 || size < orders->least || size > orders->most)
        return 0;
    if (orders->pid != (uint32_t)getpid())
        return 0;
    if (__atomic_add_fetch(&orders->counted, 1, __ATOMIC_RELAXED) % orders->nth != 0 || orders->refused >= orders->times)
        return 0;
    __atomic_add_fetch(&orders->refused, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    return refuses(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    return refuses(bytes) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return refuses(size) ? NULL : __libc_realloc(block, size);
}
