/* ResNet-50 trained: values, gradients, moving statistics and ten steps of gradient descent. */
#include "golden/golden.h"

#include <math.h>
#include <string.h>

#define DECAY 0.997 /* resnet_arg_scope's, of moving statistics */

enum { CLASSES = 10, SGD_STEPS = 10 };

typedef struct training {
    crn_node *cross_entropy, *regularization, *total;
} training;

/* One-hot: image i is of class (7 i + 3) mod 10. */
static crn_node *labels(int64_t batch)
{
    static int32_t one_hot[4][CLASSES];
    memset(one_hot, 0, sizeof one_hot);
    for (int64_t i = 0; i < batch; i++)
        one_hot[i][(7 * i + 3) % CLASSES] = 1;
    return golden_feed("labels", CRN_I32, CRN_SHAPE(batch, CLASSES), one_hot);
}

/* The network with its losses, and the expectation of all that one run computes. */
static training begin(const char *path, const char *model, int64_t batch, int64_t size,
                      int32_t output_stride)
{
    golden_begin(path);
    crn_graph *g = golden_graph();
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.output_stride = output_stride;
    options.spatial_squeeze = false; /* research/slim's, with end points of its own */
    crn_node *inputs = golden_input("inputs", CRN_SHAPE(batch, size, size, 3), 1);
    crn_node *logits = crn_model_find(model)->build(g, inputs, CLASSES, &options);
    training t;
    t.cross_entropy =
        crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels(batch), crn_squeeze(g, logits)));
    t.regularization = crn_regularization_loss(g);
    t.total = crn_add(g, t.cross_entropy, t.regularization);
    golden_initialize();
    golden_expect("logits", NULL, logits);
    golden_expect_end_points();
    golden_expect("loss", "cross_entropy", t.cross_entropy);
    golden_expect("loss", "regularization", t.regularization);
    golden_expect("loss", "total", t.total);
    golden_expect_gradients(t.total);
    return t;
}

static void check(const char *path, const char *model, int64_t size)
{
    training t = begin(path, model, 4, size, 0);
    crn_graph *g = golden_graph();
    float rate = (float)*golden_doubles("sgd/learning_rate", 1);
    crn_train_op *step = crn_minimize(g, crn_gradient_descent(rate), t.total);
    double losses[SGD_STEPS];
    for (int i = 0; i < SGD_STEPS; i++) {
        const float *loss = golden_fetch(t.total);
        golden_run(step);
        losses[i] = *loss;
        if (i == 0)
            golden_compare_variables("moving1", DECAY, 1, GOLDEN_RTOL);
    }
    golden_compare_doubles("sgd/losses", losses, SGD_STEPS);
    golden_compare_variables("sgd/moving", pow(DECAY, SGD_STEPS), SGD_STEPS, GOLDEN_RTOL);
    golden_compare_variables("sgd/variable", 1, SGD_STEPS, GOLDEN_STEPS_RTOL);
    golden_verify();
}

static void v1_50_at_64_pixels(void **state)
{
    (void)state;
    check(GOLDEN("train_v1_50_64.safetensors"), "resnet_v1_50", 64);
}

static void v1_50_at_65_pixels(void **state)
{
    (void)state;
    check(GOLDEN("train_v1_50_65.safetensors"), "resnet_v1_50", 65);
}

static void v2_50_at_64_pixels(void **state)
{
    (void)state;
    check(GOLDEN("train_v2_50_64.safetensors"), "resnet_v2_50", 64);
}

static void v2_50_at_65_pixels(void **state)
{
    (void)state;
    check(GOLDEN("train_v2_50_65.safetensors"), "resnet_v2_50", 65);
}

/* Rates of 2 and 4 forward and backward. */
static void v1_50_with_output_stride_8(void **state)
{
    (void)state;
    begin(GOLDEN("train_v1_50_os8.safetensors"), "resnet_v1_50", 2, 65, 8);
    golden_run(NULL);
    golden_verify();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GOLDEN_TEST(v1_50_at_64_pixels),         GOLDEN_TEST(v1_50_at_65_pixels),
        GOLDEN_TEST(v2_50_at_64_pixels),         GOLDEN_TEST(v2_50_at_65_pixels),
        GOLDEN_TEST(v1_50_with_output_stride_8),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
