#define _DEFAULT_SOURCE /* _SC_NPROCESSORS_ONLN */
#include "core/thread.h"

#include <signal.h>
#include <unistd.h>

#define MAX_THREADS 16

bool crn__thread_start(pthread_t *thread, void *(*run)(void *), void *data)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(thread, NULL, run, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0;
}

typedef struct part {
    void (*work)(void *, size_t, size_t);
    void *data;
    size_t begin, end;
    pthread_t thread;
    bool started;
} part;

static void *run_part(void *data)
{
    part *p = data;
    p->work(p->data, p->begin, p->end);
    return NULL;
}

static size_t threads_for(size_t count, size_t least)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = processors < 1 ? 1 : processors > MAX_THREADS ? MAX_THREADS : (size_t)processors;
    size_t ranges = count / least;
    return ranges < 1 ? 1 : ranges < most ? ranges : most;
}

void crn__parallel_for(size_t count, size_t least, void (*work)(void *, size_t, size_t), void *data)
{
    part parts[MAX_THREADS];
    size_t n = threads_for(count, least), each = count / n;
    for (size_t i = 0; i < n; i++) {
        parts[i] = (part){work, data, i * each, i + 1 < n ? (i + 1) * each : count, 0, false};
        if (i > 0)
            parts[i].started = crn__thread_start(&parts[i].thread, run_part, &parts[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (!parts[i].started) /* the first, and those that there was no thread for */
            run_part(&parts[i]);
    for (size_t i = 0; i < n; i++)
        if (parts[i].started)
            pthread_join(parts[i].thread, NULL);
}
