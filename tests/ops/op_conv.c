#include "op_conv.h"

#include <stdio.h>

/* ---- shapes ---- */

static void or_1(int *value)
{
    if (*value == 0)
        *value = 1;
}

void conv_lay_out(conv_problem *p)
{
    or_1(&p->window.stride_h);
    or_1(&p->window.stride_w);
    or_1(&p->window.rate_h);
    or_1(&p->window.rate_w);
    if (p->activation == CRN_ACTIVATION_DEFAULT)
        p->activation = CRN_ACTIVATION_NONE;
    if (p->padding == CRN_PADDING_EXPLICIT)
        ref_window_explicit(&p->window);
    else if (p->padding == CRN_PADDING_VALID)
        ref_window_valid(&p->window);
    else
        ref_window_same(&p->window);
}

int conv_x_count(const conv_problem *p)
{
    return p->window.n * p->window.h * p->window.w * p->c;
}

int conv_y_count(const conv_problem *p)
{
    return p->window.n * p->window.out_h * p->window.out_w * p->k;
}

int conv_weight_count(const conv_problem *p)
{
    return p->window.kernel_h * p->window.kernel_w * p->c * p->k;
}

const char *conv_describe(const conv_problem *p, const char *what)
{
    static char text[256];
    const ref_window *w = &p->window;
    snprintf(text, sizeof text,
             "%s of [%d,%d,%d,%d] * [%d,%d,%d,%d], stride %d,%d rate %d,%d pad %d,%d,%d,%d", what,
             w->n, w->h, w->w, p->c, w->kernel_h, w->kernel_w, p->c, p->k, w->stride_h, w->stride_w,
             w->rate_h, w->rate_w, w->pad_top, w->pad_bottom, w->pad_left, w->pad_right);
    return text;
}

/* ---- random problems ---- */

/* Padding up to the kernel's extent, where windows see nothing of the image. */
static void draw_padding(uint64_t key, uint64_t d, ref_window *w)
{
    int extent_h = (w->kernel_h - 1) * w->rate_h + 1, extent_w = (w->kernel_w - 1) * w->rate_w + 1;
    w->pad_top = op_pick(key, d, 0, extent_h);
    w->pad_bottom = op_pick(key, d + 1, 0, extent_h);
    w->pad_left = op_pick(key, d + 2, 0, extent_w);
    w->pad_right = op_pick(key, d + 3, 0, extent_w);
}

static conv_problem draw_once(uint64_t key, uint64_t d, bool product)
{
    static const int kernels[] = {1, 1, 2, 3, 3, 5, 7}, batches[] = {1, 1, 2, 3, 5};
    static const int channels[] = {1, 2, 3, 7, 8, 16, 17, 32, 33, 64};
    conv_problem p = {IMAGE(op_choose(key, d, 5, batches), op_pick(key, d + 1, 1, 17),
                            op_pick(key, d + 2, 1, 17), op_choose(key, d + 3, 10, channels)),
                      KERNEL(1, 1, op_choose(key, d + 4, 10, channels)),
                      .no_biases = op_pick(key, d + 5, 0, 1) == 1,
                      .activation = (crn_activation)op_pick(key, d + 6, CRN_ACTIVATION_NONE,
                                                            CRN_ACTIVATION_RELU6)};
    if (!product) {
        ref_window *w = &p.window;
        w->kernel_h = w->kernel_w = op_choose(key, d + 7, 7, kernels);
        if (op_pick(key, d + 8, 0, 1) == 1)
            w->kernel_w = op_choose(key, d + 9, 7, kernels);
        w->stride_h = op_pick(key, d + 10, 1, 3);
        w->stride_w = op_pick(key, d + 11, 1, 3);
        w->rate_h = op_pick(key, d + 12, 1, 2);
        w->rate_w = op_pick(key, d + 13, 1, 2);
        p.padding = (crn_padding)op_pick(key, d + 14, CRN_PADDING_SAME, CRN_PADDING_EXPLICIT);
        draw_padding(key, d + 15, w);
    }
    conv_lay_out(&p);
    return p;
}

/* The first that has an output and is no long work for the naive reference. */
conv_problem conv_draw(uint64_t key, bool product)
{
    for (uint64_t d = 0;; d += 32) {
        conv_problem p = draw_once(key, d, product);
        double products = (double)conv_y_count(&p) * conv_weight_count(&p) / p.k;
        if (products > 0 && products < 1e6)
            return p;
    }
}

conv_values conv_uniform(const conv_problem *p)
{
    return (conv_values){.x = op_uniform(1, conv_x_count(p), -1, 1),
                         .weights = op_uniform(2, conv_weight_count(p), -1, 1),
                         .biases = op_uniform(3, p->k, -1, 1),
                         .dy = op_uniform(4, conv_y_count(p), -1, 1)};
}

conv_values conv_integers(const conv_problem *p, uint64_t key)
{
    return (conv_values){.x = op_integers(key + 1, conv_x_count(p), -3, 3),
                         .weights = op_integers(key + 2, conv_weight_count(p), -3, 3),
                         .biases = op_integers(key + 3, p->k, -3, 3),
                         .dy = op_integers(key + 4, conv_y_count(p), -3, 3)};
}

/* ---- checking ---- */

void conv_work_out(const conv_problem *p, conv_values *v)
{
    int n_y = conv_y_count(p);
    double *sum = op_array(n_y), *dsum = op_array(n_y);
    v->y = op_array(n_y);
    v->dx = op_array(conv_x_count(p));
    v->dweights = op_array(conv_weight_count(p));
    v->dbiases = op_array(p->k);
    ref_conv_forward(&p->window, p->c, p->k, v->x, v->weights, p->no_biases ? NULL : v->biases,
                     sum);
    op_activate(p->activation, n_y, sum, v->dy, v->y, dsum);
    ref_conv_backward(&p->window, p->c, p->k, v->x, v->weights, dsum, v->dx, v->dweights,
                      v->dbiases);
}

static crn_node *build(const conv_problem *p, crn_node *x)
{
    const ref_window *w = &p->window;
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.stride_h = w->stride_h;
    options.stride_w = w->stride_w;
    options.rate_h = w->rate_h;
    options.rate_w = w->rate_w;
    options.padding = p->padding;
    if (p->padding == CRN_PADDING_EXPLICIT) {
        options.pad_top = w->pad_top;
        options.pad_bottom = w->pad_bottom;
        options.pad_left = w->pad_left;
        options.pad_right = w->pad_right;
    }
    options.activation = p->activation;
    options.no_biases = p->no_biases;
    return crn_conv2d(op_graph(), x, p->k, w->kernel_h, w->kernel_w, &options);
}

void conv_check(const conv_problem *p, conv_values *v, double rtol)
{
    const ref_window *w = &p->window;
    crn_node *x = op_input("x", CRN_SHAPE(w->n, w->h, w->w, p->c), v->x);
    crn_node *y = build(p, x);
    op_check(crn_graph_status(op_graph()));
    crn_shape shape = crn_node_shape(y);
    if (!crn_shape_equal(&shape, &CRN_SHAPE(w->n, w->out_h, w->out_w, p->k))) {
        char text[96];
        fail_msg("%s is %s", conv_describe(p, "shape"), crn_shape_text(&shape, text, sizeof text));
    }
    op_set("Conv/weights", v->weights);
    if (!p->no_biases)
        op_set("Conv/biases", v->biases);
    crn_node *loss = op_loss(y, v->dy);
    const double *actual_y = op_fetch(y);
    const double *dx = op_fetch_gradient(loss, x);
    const double *dweights = op_fetch_gradient_of(loss, "Conv/weights");
    const double *dbiases = p->no_biases ? NULL : op_fetch_gradient_of(loss, "Conv/biases");
    op_run(NULL);
    conv_work_out(p, v);
    op_compare(conv_describe(p, "y"), actual_y, v->y, conv_y_count(p), rtol);
    op_compare(conv_describe(p, "dx"), dx, v->dx, conv_x_count(p), rtol);
    op_compare(conv_describe(p, "dweights"), dweights, v->dweights, conv_weight_count(p), rtol);
    if (!p->no_biases)
        op_compare(conv_describe(p, "dbiases"), dbiases, v->dbiases, p->k, rtol);
    op_next();
}
