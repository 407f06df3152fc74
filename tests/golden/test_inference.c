/* ResNet-50 with its moving statistics: every end point, with atrous rates, without pool or head.
 */
#include "golden/golden.h"

/* `result` is what the file calls the node that the network returns. */
static void check(const char *path, const char *model, crn_shape shape, int64_t num_classes,
                  const char *result, crn_resnet_options options)
{
    golden_begin(path);
    crn_graph *g = golden_graph();
    options.is_training = false;
    options.spatial_squeeze = false; /* research/slim's, with end points of its own */
    crn_node *inputs = golden_input("inputs", shape, 1);
    crn_node *net = crn_model_find(model)->build(g, inputs, num_classes, &options);
    golden_initialize();
    /* Alone first: convolutions then take in what follows them, since nothing else is looked at. */
    golden_expect(result, NULL, net);
    golden_run(NULL);
    golden_expect_end_points();
    golden_run(NULL);
    golden_verify();
}

static void v1_50(void **state)
{
    (void)state;
    check(GOLDEN("infer_v1_50_64.safetensors"), "resnet_v1_50", CRN_SHAPE(4, 64, 64, 3), 10,
          "logits", (crn_resnet_options)CRN_RESNET_OPTIONS_INIT);
}

static void v2_50(void **state)
{
    (void)state;
    check(GOLDEN("infer_v2_50_64.safetensors"), "resnet_v2_50", CRN_SHAPE(4, 64, 64, 3), 10,
          "logits", (crn_resnet_options)CRN_RESNET_OPTIONS_INIT);
}

/* For dense prediction: a map of logits, global_pool off. */
static void check_dense(const char *path, const char *model, int32_t output_stride)
{
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.output_stride = output_stride;
    options.global_pool = false;
    check(path, model, CRN_SHAPE(1, 65, 65, 3), 10, "logits", options);
}

static void v1_50_with_output_stride_16(void **state)
{
    (void)state;
    check_dense(GOLDEN("infer_v1_50_os16.safetensors"), "resnet_v1_50", 16);
}

static void v1_50_with_output_stride_8(void **state)
{
    (void)state;
    check_dense(GOLDEN("infer_v1_50_os8.safetensors"), "resnet_v1_50", 8);
}

static void v2_50_with_output_stride_16(void **state)
{
    (void)state;
    check_dense(GOLDEN("infer_v2_50_os16.safetensors"), "resnet_v2_50", 16);
}

static void v2_50_with_output_stride_8(void **state)
{
    (void)state;
    check_dense(GOLDEN("infer_v2_50_os8.safetensors"), "resnet_v2_50", 8);
}

static void without_classes_the_result_is_the_pooled_map(void **state)
{
    (void)state;
    check(GOLDEN("infer_v1_50_pool.safetensors"), "resnet_v1_50", CRN_SHAPE(1, 64, 64, 3), 0, "net",
          (crn_resnet_options)CRN_RESNET_OPTIONS_INIT);
}

static void without_pool_too_the_result_is_the_map(void **state)
{
    (void)state;
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.global_pool = false;
    check(GOLDEN("infer_v1_50_features.safetensors"), "resnet_v1_50", CRN_SHAPE(1, 64, 64, 3), 0,
          "net", options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GOLDEN_TEST(v1_50),
        GOLDEN_TEST(v2_50),
        GOLDEN_TEST(v1_50_with_output_stride_16),
        GOLDEN_TEST(v1_50_with_output_stride_8),
        GOLDEN_TEST(v2_50_with_output_stride_16),
        GOLDEN_TEST(v2_50_with_output_stride_8),
        GOLDEN_TEST(without_classes_the_result_is_the_pooled_map),
        GOLDEN_TEST(without_pool_too_the_result_is_the_map),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
