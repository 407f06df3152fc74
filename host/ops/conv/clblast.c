/*
 * CLBlast's SGEMM as a solver: a 1x1 convolution with stride 1 is the product of pixels [M,ic] and
 * weights [ic,oc]. Tested against our own arithmetic before its first use on a device, and left
 * alone where it is wrong.
 */
#include "ops/conv/conv.h"

#ifdef CRN_WITH_CLBLAST

#include <clblast_c.h>

#include "core/error.h"

/* c [m,n] = op(a) op(b) + beta c, row-major; all in one queue. */
static crn_status gemm(crn_context *context, bool a_transposed, bool b_transposed, size_t m,
                       size_t n, size_t k, const crn__buffer *a, const crn__buffer *b,
                       crn__buffer *c, float beta)
{
    cl_command_queue queue = crn__context_queue(context);
    CLBlastStatusCode code =
        CLBlastSgemm(CLBlastLayoutRowMajor, a_transposed ? CLBlastTransposeYes : CLBlastTransposeNo,
                     b_transposed ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, 1.0f,
                     crn__buffer_mem(a), 0, a_transposed ? m : k, crn__buffer_mem(b), 0,
                     b_transposed ? k : n, beta, crn__buffer_mem(c), 0, n, &queue, NULL);
    if (code != CLBlastSuccess)
        return crn__fail(crn__context_fail(context), CRN_DEVICE, "CLBlastSgemm: status %d",
                         (int)code);
    return CRN_OK;
}

/* Operands: a, b, c, m, n, k, beta, and which of a and b are transposed. */
enum { A, B, C, M, N, K, BETA, A_TRANSPOSED, B_TRANSPOSED };

static crn_status call_gemm(crn_context *context, const crn__arg *args, size_t n_args)
{
    (void)n_args;
    return gemm(context, args[A_TRANSPOSED].as.i, args[B_TRANSPOSED].as.i, (size_t)args[M].as.l,
                (size_t)args[N].as.l, (size_t)args[K].as.l, args[A].as.buffer, args[B].as.buffer,
                args[C].as.buffer, args[BETA].as.f);
}

static void emit_gemm(crn__schedule *schedule, bool a_transposed, bool b_transposed, int64_t m,
                      int64_t n, int64_t k, crn__tensor *a, crn__tensor *b, crn__tensor *c,
                      bool accumulate)
{
    crn__task task = {.call = call_gemm};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(a), CRN__TENSOR(b), CRN__TENSOR(c), CRN__LONG(m),
                                    CRN__LONG(n), CRN__LONG(k),
                                    CRN__FLOAT(accumulate ? 1.0f : 0.0f), CRN__INT(a_transposed),
                                    CRN__INT(b_transposed)));
}

/* ---- the test before first use ---- */

#define TEST_M 37
#define TEST_N 19
#define TEST_K 23

/* Small integers, whose products every correct GEMM sums exactly. */
static void fill_integers(float *data, size_t count, int key)
{
    for (size_t i = 0; i < count; i++)
        data[i] = (float)((int)((i * 7 + (size_t)key) % 5) - 2);
}

static crn_status check_one(crn_context *context, crn__buffer *const buffers[3], bool a_transposed,
                            bool b_transposed, bool *right)
{
    float a[TEST_M * TEST_K], b[TEST_K * TEST_N], c[TEST_M * TEST_N], got[TEST_M * TEST_N];
    fill_integers(a, TEST_M * TEST_K, 1);
    fill_integers(b, TEST_K * TEST_N, 2);
    fill_integers(c, TEST_M * TEST_N, 3);
    CRN__TRY(crn__buffer_write(buffers[0], 0, a, sizeof a));
    CRN__TRY(crn__buffer_write(buffers[1], 0, b, sizeof b));
    CRN__TRY(crn__buffer_write(buffers[2], 0, c, sizeof c));
    CRN__TRY(gemm(context, a_transposed, b_transposed, TEST_M, TEST_N, TEST_K, buffers[0],
                  buffers[1], buffers[2], 1.0f));
    CRN__TRY(crn__buffer_read(buffers[2], 0, got, sizeof got));
    for (int m = 0; m < TEST_M; m++)
        for (int n = 0; n < TEST_N; n++) {
            float sum = c[m * TEST_N + n];
            for (int k = 0; k < TEST_K; k++)
                sum += a[a_transposed ? k * TEST_M + m : m * TEST_K + k] *
                       b[b_transposed ? n * TEST_K + k : k * TEST_N + n];
            *right = *right && got[m * TEST_N + n] == sum;
        }
    return CRN_OK;
}

static bool check(crn_context *context)
{
    const size_t sizes[3] = {TEST_M * TEST_K, TEST_K * TEST_N, TEST_M * TEST_N};
    crn__buffer *buffers[3] = {NULL, NULL, NULL};
    bool right = true;
    crn_status status = CRN_OK;
    for (int i = 0; i < 3 && status == CRN_OK; i++)
        status = crn__buffer_create(context, sizes[i] * sizeof(float), &buffers[i]);
    const bool transposed[3][2] = {{false, false}, {false, true}, {true, false}};
    for (int i = 0; i < 3 && status == CRN_OK; i++)
        status = check_one(context, buffers, transposed[i][0], transposed[i][1], &right);
    for (int i = 0; i < 3; i++)
        crn__buffer_free(buffers[i]);
    return status == CRN_OK && right;
}

static bool usable(crn_context *context)
{
    crn__profile *profile = crn__context_profile(context);
    if (!profile->clblast_checked) {
        profile->clblast_checked = true;
        profile->clblast_failed = !check(context);
        crn__log(context, profile->clblast_failed ? CRN_LOG_WARNING : CRN_LOG_DEBUG, "CLBlast %s",
                 profile->clblast_failed ? "is wrong on this device and is not used"
                                         : "is right here");
    }
    return !profile->clblast_failed;
}

/* ---- the solver ---- */

static bool applies(crn__schedule *schedule, const crn__conv *conv)
{
    const crn__window *w = &conv->window;
    bool is_product = w->kernel[0] == 1 && w->kernel[1] == 1 && w->stride[0] == 1 &&
                      w->stride[1] == 1 && w->pad_before[0] == 0 && w->pad_before[1] == 0 &&
                      w->pad_after[0] == 0 && w->pad_after[1] == 0;
    return is_product && usable(crn__schedule_context(schedule));
}

static int64_t pixels(const crn__conv *conv)
{
    return (int64_t)conv->images * conv->ih * conv->iw;
}

static void forward(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x, crn__tensor *w,
                    const crn__epilogue *epilogue, crn__tensor *y)
{
    emit_gemm(schedule, false, false, pixels(conv), conv->oc, conv->ic, x, w, y, false);
    int activation = crn__activation_code(epilogue->activation);
    if (epilogue->scale == NULL && epilogue->shift == NULL && epilogue->other == NULL &&
        activation == 0)
        return;
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "conv_epilogue.cl", "finish", crn__rows(y),
                                    crn__channels(y), &vectors, &chunks);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(y), CRN__TENSOR(epilogue->scale),
                                    CRN__TENSOR(epilogue->shift), CRN__TENSOR(epilogue->other),
                                    CRN__LONG(crn__rows(y)), CRN__INT(vectors),
                                    CRN__INT(activation)));
}

static void input_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *dy,
                           crn__tensor *w, crn__tensor *dx, bool accumulate)
{
    emit_gemm(schedule, false, true, pixels(conv), conv->ic, conv->oc, dy, w, dx, accumulate);
}

static void weight_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate)
{
    emit_gemm(schedule, true, false, conv->ic, conv->oc, pixels(conv), x, dy, dw, accumulate);
}

const crn__conv_solver_ops crn__conv_clblast = {
    .name = "clblast",
    .applies = applies,
    .forward = forward,
    .input_gradient = input_gradient,
    .weight_gradient = weight_gradient,
};

#else

/* A build without CLBlast: never chosen. */
static bool applies(crn__schedule *schedule, const crn__conv *conv)
{
    (void)schedule;
    (void)conv;
    return false;
}

const crn__conv_solver_ops crn__conv_clblast = {.name = "clblast", .applies = applies};

#endif
