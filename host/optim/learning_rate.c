/* Learning rates by step, in double and rounded once. */
#include <inttypes.h>
#include <math.h>

#include "clarinet/optim.h"
#include "core/error.h"

#define PI 3.14159265358979323846

crn_status crn_schedule_check(const crn_schedule *schedule, crn_error *error)
{
    if (schedule->warmup_steps < 0)
        return crn__fail(error, CRN_INVALID, "a warm-up of %" PRId64 " steps",
                         schedule->warmup_steps);
    switch (schedule->kind) {
    case CRN_SCHEDULE_FIXED:
        return CRN_OK;
    case CRN_SCHEDULE_EXPONENTIAL:
    case CRN_SCHEDULE_STEP:
    case CRN_SCHEDULE_POLYNOMIAL:
    case CRN_SCHEDULE_COSINE:
        if (schedule->decay_steps < 1)
            return crn__fail(error, CRN_INVALID,
                             "a learning rate that decays over %" PRId64 " steps",
                             schedule->decay_steps);
        return CRN_OK;
    case CRN_SCHEDULE_PIECEWISE:
        if (schedule->values == NULL ||
            (schedule->boundaries == NULL && schedule->n_boundaries > 0))
            return crn__fail(error, CRN_INVALID, "a piecewise learning rate without its pieces");
        for (size_t i = 1; i < schedule->n_boundaries; i++)
            if (schedule->boundaries[i] <= schedule->boundaries[i - 1])
                return crn__fail(error, CRN_INVALID,
                                 "a learning rate's boundary %" PRId64 " after %" PRId64,
                                 schedule->boundaries[i], schedule->boundaries[i - 1]);
        return CRN_OK;
    }
    return crn__fail(error, CRN_INVALID, "unknown learning rate schedule %d", (int)schedule->kind);
}

/* The part of decay_steps that is over, at most 1. */
static double progress(const crn_schedule *schedule, int64_t step)
{
    return step < schedule->decay_steps ? (double)step / (double)schedule->decay_steps : 1.0;
}

/* Without the warm-up. */
static double rate_at(const crn_schedule *schedule, int64_t step)
{
    const double rate = (double)schedule->rate, end = (double)schedule->end_rate;
    size_t piece = 0;
    switch (schedule->kind) {
    case CRN_SCHEDULE_FIXED:
        break;
    case CRN_SCHEDULE_EXPONENTIAL:
        return rate *
               pow((double)schedule->decay_rate, (double)step / (double)schedule->decay_steps);
    case CRN_SCHEDULE_STEP:
        return rate * pow((double)schedule->decay_rate, (double)(step / schedule->decay_steps));
    case CRN_SCHEDULE_POLYNOMIAL:
        return (rate - end) * pow(1.0 - progress(schedule, step), (double)schedule->power) + end;
    case CRN_SCHEDULE_COSINE:
        return (rate - end) * 0.5 * (1.0 + cos(PI * progress(schedule, step))) + end;
    case CRN_SCHEDULE_PIECEWISE:
        while (piece < schedule->n_boundaries && step > schedule->boundaries[piece])
            piece++;
        return (double)schedule->values[piece];
    }
    return rate;
}

float crn_schedule_rate(const crn_schedule *schedule, int64_t step)
{
    const int64_t warmup = schedule->warmup_steps;
    if (step >= warmup)
        return (float)rate_at(schedule, step);
    const double from = (double)schedule->warmup_rate, to = rate_at(schedule, warmup);
    return (float)(from + (to - from) * (double)step / (double)warmup);
}
