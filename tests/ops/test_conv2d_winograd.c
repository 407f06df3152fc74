/* The Winograd solver in every shape that it takes, and others beside them, which stay direct. */
#include <stdlib.h>
#include <string.h>

#include "op_conv.h"

/* Its transforms multiply by up to 8 and divide by up to 24: some tens of roundings more than a
 * sum. */
#define RTOL 5e-5

static int open_winograd(void **state)
{
    setenv("CLARINET_CONV_SOLVER", "winograd", 1);
    return op_open(state);
}

static void shapes(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 4, 4, 16), KERNEL(3, 3, 16)},
        {IMAGE(2, 8, 8, 32), KERNEL(3, 3, 64), NO_BIASES},
        {IMAGE(3, 7, 7, 64), KERNEL(3, 3, 32), RELU},
        {IMAGE(5, 13, 5, 16), KERNEL(3, 3, 48), RELU6},
        {IMAGE(2, 1, 1, 16), KERNEL(3, 3, 16)},
        {IMAGE(1, 2, 31, 48), KERNEL(3, 3, 16)},
        {IMAGE(2, 9, 10, 16), KERNEL(3, 3, 16), VALID},
        {IMAGE(2, 6, 7, 16), KERNEL(3, 3, 32), PAD(2, 0, 0, 2)},
        {IMAGE(2, 6, 7, 16), KERNEL(3, 3, 32), PAD(0, 2, 1, 0)},
        {IMAGE(1, 29, 27, 32), KERNEL(3, 3, 32)}, /* several groups of tiles, the last short */
        {IMAGE(17, 7, 7, 512), KERNEL(3, 3, 32)}, /* scratch for part of the tiles at a time */
        {IMAGE(7, 5, 7, 64), KERNEL(3, 3, 80)},   /* the weight gradient's groups of channels */
        {IMAGE(9, 5, 7, 32), KERNEL(3, 3, 32), PAD(2, 2, 2, 2)},
        {IMAGE(9, 5, 7, 16), KERNEL(3, 3, 48), VALID},
        {IMAGE(1, 130, 41, 16), KERNEL(3, 3, 32)},                  /* its ranges of tiles */
        {IMAGE(2, 21, 22, 32), KERNEL(3, 3, 48), RELU, RATE(2, 2)}, /* tiles that interleave */
        {IMAGE(3, 13, 17, 16), KERNEL(3, 3, 32), RATE(4, 4)},
        {IMAGE(3, 2, 35, 16), KERNEL(3, 3, 32), RATE(5, 5), PAD(10, 3, 4, 10)},
        {IMAGE(2, 19, 23, 32), KERNEL(3, 3, 16), RATE(3, 3), VALID},
        {IMAGE(2, 8, 8, 17), KERNEL(3, 3, 16)}, /* direct from here */
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 19)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 16), STRIDE(2, 1)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 16), RATE(1, 2)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 1, 16)},
        {IMAGE(2, 3, 3, 16), KERNEL(3, 3, 16), PAD(3, 0, 3, 0)},
        {IMAGE(2, 9, 9, 16), KERNEL(3, 3, 16), RATE(2, 2), PAD(5, 0, 4, 0)},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        conv_problem p = table[i];
        conv_lay_out(&p);
        conv_values v = conv_uniform(&p);
        conv_check(&p, &v, RTOL);
    }
}

/* The convolution in a scope of its own; with `reuse`, by the same weights as before. */
static crn_node *shared_conv(const conv_problem *p, crn_node *x, bool reuse)
{
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    crn_scope_push(op_graph(), "shared");
    if (reuse)
        crn_scope_reuse(op_graph());
    crn_node *y = crn_conv2d(op_graph(), x, p->k, p->window.kernel_h, p->window.kernel_w, &options);
    crn_scope_pop(op_graph());
    return y;
}

/*
 * One convolution of two images, so that the second one's weight gradient is added to the first
 * one's. All is summed up in a fixed order: a second run is equal to the last bit.
 */
static void weight_gradients_add_up(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(9, 5, 6, 256), KERNEL(3, 3, 256)},  /* groups of channels */
        {IMAGE(29, 5, 7, 512), KERNEL(3, 3, 16)},  /* two chunks of tiles */
        {IMAGE(3, 98, 103, 16), KERNEL(3, 3, 16)}, /* and ranges of both */
        {IMAGE(1, 8, 16, 16), KERNEL(3, 3, 16)},   /* as few tiles as there may be */
        {IMAGE(1, 8, 12, 16), KERNEL(3, 3, 16)},   /* fewer: direct */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        conv_problem p = table[i];
        conv_lay_out(&p);
        p.no_biases = true;
        const ref_window *w = &p.window;
        int count = conv_weight_count(&p);
        conv_values a = conv_uniform(&p), b = a;
        b.x = op_uniform(5, conv_x_count(&p), -1, 1);
        conv_work_out(&p, &a);
        conv_work_out(&p, &b);
        for (int k = 0; k < count; k++)
            a.dweights[k] += b.dweights[k];

        crn_shape shape = CRN_SHAPE(w->n, w->h, w->w, p.c);
        crn_node *ya = shared_conv(&p, op_input("a", shape, a.x), false);
        crn_node *yb = shared_conv(&p, op_input("b", shape, b.x), true);
        op_set("shared/Conv/weights", a.weights);
        crn_node *loss = op_loss(crn_add(op_graph(), ya, yb), a.dy);
        const double *dweights = op_fetch_gradient_of(loss, "shared/Conv/weights");
        op_run(NULL);
        op_compare(conv_describe(&p, "dweights of two"), dweights, a.dweights, count, RTOL);
        double *first = op_array(count);
        memcpy(first, dweights, (size_t)count * sizeof *first);
        op_run(NULL);
        op_compare(conv_describe(&p, "dweights again"), dweights, first, count, 0);
        op_next();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(shapes),
        OP_TEST(weight_gradients_add_up),
    };
    return cmocka_run_group_tests(tests, open_winograd, op_close);
}
