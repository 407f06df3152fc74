/*
 * One training step of a variable w over n vectors.
 *
 * Its gradient is share * factor * (g + decay * dy[0] * w). dy is for a w with weight decay, else
 * missing; share is one over the runs whose gradients g adds up. The step's verdict may be missing;
 * else it says whether the step is taken at all, and holds for the variable of number `at` the
 * factor that clips its gradient and LARS's trust in it.
 */
#define RUN_OK 0
#define STEP_OK 1
#define SKIPPED 2
#define FACTOR(at) (4 + 2 * (at))
#define TRUST(at) (5 + 2 * (at))

#define UPDATE(name, ...)                                                                       \
    KERNEL void name(__global vec *restrict w, const __global vec *restrict g,                  \
                     const __global float *restrict dy, const __global float *restrict verdict, \
                     long n, float decay, int at, float share, __VA_ARGS__)

#define FOR_EACH_WEIGHT(i)                                             \
    if (verdict && verdict[STEP_OK] == 0.0f)                           \
        return;                                                        \
    const float scale = verdict ? share * verdict[FACTOR(at)] : share; \
    const vec rate = (vec)(dy ? decay * dy[0] : 0.0f);                 \
    FOR_EACH (i, n)

#define GRADIENT(i) (scale * (dy ? fma(rate, w[i], g[i]) : g[i]))

/* x moves to `target`: x = keep * x + (1 - keep) * target */
#define MOVED(x, target, keep) ((x) + ((target) - (x)) * (1.0f - (keep)))

UPDATE(gradient_descent, float lr)
{
    FOR_EACH_WEIGHT(i)
    w[i] -= lr * GRADIENT(i);
}

UPDATE(momentum, __global vec *restrict m, float lr, float momentum)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec v = fma((vec)(momentum), m[i], GRADIENT(i));
        m[i] = v;
        w[i] -= lr * v;
    }
}

UPDATE(nesterov, __global vec *restrict m, float lr, float momentum)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i), v = fma((vec)(momentum), m[i], d);
        m[i] = v;
        w[i] -= lr * fma((vec)(momentum), v, d);
    }
}

UPDATE(rmsprop, __global vec *restrict s, __global vec *restrict m, float lr, float keep,
       float momentum, float epsilon)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i), square = MOVED(s[i], d * d, keep);
        const vec v = momentum * m[i] + lr * d / sqrt(square + epsilon);
        s[i] = square;
        m[i] = v;
        w[i] -= v;
    }
}

UPDATE(rmsprop_centered, __global vec *restrict s, __global vec *restrict a,
       __global vec *restrict m, float lr, float keep, float momentum, float epsilon)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i);
        const vec square = MOVED(s[i], d * d, keep), mean = MOVED(a[i], d, keep);
        const vec v = momentum * m[i] + lr * d / sqrt(square - mean * mean + epsilon);
        s[i] = square;
        a[i] = mean;
        m[i] = v;
        w[i] -= v;
    }
}

/* power1 and power2 are beta1^t and beta2^t at the t-th step. */
UPDATE(adam, __global vec *restrict m, __global vec *restrict v,
       const __global float *restrict power1, const __global float *restrict power2, float lr,
       float beta1, float beta2, float epsilon)
{
    const float rate_now = lr * sqrt(1.0f - power2[0]) / (1.0f - power1[0]);
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i);
        const vec mean = MOVED(m[i], d, beta1), square = MOVED(v[i], d * d, beta2);
        m[i] = mean;
        v[i] = square;
        w[i] -= rate_now * mean / (sqrt(square) + epsilon);
    }
}

UPDATE(adamw, __global vec *restrict m, __global vec *restrict v,
       const __global float *restrict power1, const __global float *restrict power2, float lr,
       float beta1, float beta2, float epsilon, float weight_decay)
{
    const float correction = sqrt(1.0f - power2[0]);
    const float rate_now = lr * correction / (1.0f - power1[0]);
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i);
        const vec mean = MOVED(m[i], d, beta1), square = MOVED(v[i], d * d, beta2);
        m[i] = mean;
        v[i] = square;
        w[i] -= lr * weight_decay * w[i] + rate_now * mean / (sqrt(square) + epsilon * correction);
    }
}

UPDATE(adagrad, __global vec *restrict a, float lr)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i), sum = fma(d, d, a[i]);
        a[i] = sum;
        w[i] -= lr * d / sqrt(sum);
    }
}

UPDATE(adadelta, __global vec *restrict a, __global vec *restrict u, float lr, float keep,
       float epsilon)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i), square = MOVED(a[i], d * d, keep);
        const vec change = sqrt(u[i] + epsilon) / sqrt(square + epsilon) * d;
        a[i] = square;
        u[i] = MOVED(u[i], change * change, keep);
        w[i] -= lr * change;
    }
}

/* x^-power for x > 0; the usual power is -1/2. */
static vec ftrl_power(vec x, float power)
{
    return power == -0.5f ? sqrt(x) : powr(x, (vec)(-power));
}

UPDATE(ftrl, __global vec *restrict a, __global vec *restrict linear, float lr, float l1, float l2,
       float power)
{
    FOR_EACH_WEIGHT(i)
    {
        const vec d = GRADIENT(i), sum = fma(d, d, a[i]);
        const vec root = ftrl_power(sum, power);
        const vec l = linear[i] + d - (root - ftrl_power(a[i], power)) / lr * w[i];
        const vec pulled = copysign((vec)(l1), l) - l;
        a[i] = sum;
        linear[i] = l;
        w[i] = fabs(l) > (vec)(l1) ? pulled / (root / lr + 2.0f * l2) : (vec)(0.0f);
    }
}

/* Its verdict is never missing. */
UPDATE(lars, __global vec *restrict m, float lr, float momentum, float weight_decay)
{
    const float rate_now = lr * verdict[TRUST(at)];
    FOR_EACH_WEIGHT(i)
    {
        const vec v = fma((vec)(momentum), m[i], GRADIENT(i) + weight_decay * w[i]);
        m[i] = v;
        w[i] -= rate_now * v;
    }
}

/* beta1^t and beta2^t of the next step. One work-item. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void advance(__global float *power1,
                                                                     __global float *power2,
                                                                     const __global float *verdict,
                                                                     float beta1, float beta2)
{
    if (verdict && verdict[STEP_OK] == 0.0f)
        return;
    power1[0] *= beta1;
    power2[0] *= beta2;
}

/* sum = g in the first run of a step (keep 0), else sum += g. */
KERNEL void accumulate(const __global vec *restrict g, __global vec *restrict sum,
                       const __global float *restrict verdict, long n, float keep)
{
    if (verdict && verdict[RUN_OK] == 0.0f)
        return;
    FOR_EACH (i, n)
        sum[i] = keep == 0.0f ? g[i] : sum[i] + g[i];
}

/* a moves to w by the share `rate` of the way. */
KERNEL void average(const __global vec *restrict w, __global vec *restrict a,
                    const __global float *restrict verdict, long n, float rate)
{
    if (verdict && verdict[STEP_OK] == 0.0f)
        return;
    FOR_EACH (i, n)
        a[i] -= rate * (a[i] - w[i]);
}

/* ---- verdicts ---- */

#if VW == 1
#define BITS(x) as_int(x)
#else
#define BITS(x) JOIN(as_int, VW)(x)
#endif
/* The exponent that NaN and infinity have. No arithmetic, which a compiler may take for finite. */
#define NOT_FINITE 0x7F800000
#define IS_FINITE(x) ((as_int(x) & NOT_FINITE) != NOT_FINITE)

/*
 * This work-item's part of one tensor's sums, in a fixed order: of h^2 for h = g + decay * dy[0] *
 * w, or without `squares` NaN if a g is not finite, else 0; and of w^2 where there is a w. n
 * elements: what lies behind them is not looked at.
 */
static float2 part_of_sums(const __global float *g, const __global float *w,
                           const __global float *dy, long n, float decay, int squares)
{
    const __global vec *gs = (const __global vec *)g, *ws = (const __global vec *)w;
    const float rate = dy ? decay * dy[0] : 0.0f;
    vec sum = (vec)(0.0f), weights = (vec)(0.0f);
    ivec top = (ivec)(0);
    FOR_EACH (i, n / VW) {
        if (squares) {
            const vec h = dy ? fma((vec)(rate), ws[i], gs[i]) : gs[i];
            sum = fma(h, h, sum);
        } else {
            top = max(top, BITS(gs[i]) & NOT_FINITE);
        }
        if (w)
            weights = fma(ws[i], ws[i], weights);
    }
    float2 total = (float2)(0.0f, 0.0f);
    for (int k = 0; k < VW; k++) {
        total.x += squares                                ? ((const float *)&sum)[k]
                   : ((const int *)&top)[k] == NOT_FINITE ? NAN
                                                          : 0.0f;
        total.y += ((const float *)&weights)[k];
    }
    for (long i = n / VW * VW; get_global_id(0) == 0 && i < n; i++) {
        const float h = dy ? fma(rate, w[i], g[i]) : g[i];
        total.x += squares ? h * h : IS_FINITE(g[i]) ? 0.0f : NAN;
        total.y += w ? w[i] * w[i] : 0.0f;
    }
    return total;
}

#define TENSOR(k)                                                                        \
    const __global float *g##k, const __global float *w##k, const __global float *dy##k, \
        long n##k, float decay##k
#define PART(k)                                                                       \
    if (n##k > 0) {                                                                   \
        const float2 part = part_of_sums(g##k, w##k, dy##k, n##k, decay##k, squares); \
        partial[2 * (at + k) * parts + get_global_id(0)] = part.x;                    \
        partial[(2 * (at + k) + 1) * parts + get_global_id(0)] = part.y;              \
    }

/*
 * Parts of the sums of four tensors, so that small ones cost few launches; n 0: there is none.
 * partial [tensors][2][parts], of which these tensors are `at` and the next.
 */
KERNEL void measure(TENSOR(0), TENSOR(1), TENSOR(2), TENSOR(3), __global float *partial, int at,
                    int squares)
{
    const long parts = (long)get_global_size(0);
    PART(0)
    PART(1)
    PART(2)
    PART(3)
}

/* sums[i] = sum of partial[i][0…parts) in order, what is rounded off carried along (Kahan, 1965).
 */
KERNEL void total(const __global float *partial, __global float *sums, long n, int parts)
{
    FOR_EACH (i, n) {
        float sum = 0.0f, lost = 0.0f;
        for (int k = 0; k < parts; k++) {
            const float term = partial[i * parts + k] - lost, next = sum + term;
            lost = (next - sum) - term;
            sum = next;
        }
        sums[i] = sum;
    }
}

/*
 * Whether a run is to count, from the sums of its gradients and its loss [n][2]; and the step, of
 * which keep is 0 in the first run. `spoils`: the step is lost with one of its runs. The first
 * `unclipped` variables get the factor 1. One work-item.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
judge_run(const __global float *sums, __global float *verdict, int n, float keep, int spoils,
          int is_last, int unclipped)
{
    for (int i = 0; i < unclipped; i++)
        verdict[FACTOR(i)] = 1.0f;
    bool good = true;
    for (int i = 0; i < n; i++)
        good = good && IS_FINITE(sums[2 * i]);
    const bool before = !spoils || keep == 0.0f || verdict[STEP_OK] != 0.0f;
    verdict[RUN_OK] = good ? 1.0f : 0.0f;
    verdict[STEP_OK] = good && before ? 1.0f : 0.0f;
    if (is_last && !(good && before))
        verdict[SKIPPED] += 1.0f;
}

/*
 * The factors that clip n gradients, the first of which is number `at`, from the sums of their
 * squares [n][2], and the trust in them: coefficient * |w| / (|g| + decay * |w|), or 1 where a norm
 * is 0. A norm that is not finite makes NaN, as in TensorFlow, or where runs are judged ends the
 * step. clip: the largest norm, of each or of all (`global`), or 0. One work-item.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
judge_norms(const __global float *sums, __global float *verdict, int at, int n, float share,
            float clip, int global_norm, float coefficient, float decay, int guarded)
{
    float all = 0.0f;
    for (int i = 0; i < n; i++)
        all += sums[2 * i];
    if (!guarded) {
        verdict[RUN_OK] = verdict[STEP_OK] = 1.0f;
    } else if (!IS_FINITE(all) && verdict[STEP_OK] != 0.0f) {
        verdict[STEP_OK] = 0.0f;
        verdict[SKIPPED] += 1.0f;
    }
    for (int i = 0; i < n; i++) {
        const float own = share * sqrt(sums[2 * i]), weights = sqrt(sums[2 * i + 1]);
        const float norm = global_norm ? share * sqrt(all) : own;
        const float factor = clip == 0.0f ? 1.0f : IS_FINITE(norm) ? clip / fmax(norm, clip) : NAN;
        const float gradient = factor * own;
        verdict[FACTOR(at + i)] = factor;
        verdict[TRUST(at + i)] = weights > 0.0f && gradient > 0.0f
                                     ? coefficient * weights / (gradient + decay * weights)
                                     : 1.0f;
    }
}
