/* What crn_run says of feeds and fetches that are wrong, and that it can go on after them. */
#include <string.h>

#include "ops/op_test.h"

/* logits = images (4 numbers each) x weights; loss by labels. */
typedef struct net {
    crn_node *images, *labels, *logits, *loss;
} net;

static const float image_data[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const int32_t label_data[4] = {0, 1, 2, 0};

static net build(void)
{
    crn_graph *g = op_graph();
    net n = {.images = crn_placeholder(g, "images", CRN_F32, CRN_SHAPE(CRN_ANY, 4)),
             .labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY))};
    n.logits = crn_dense(g, n.images, 3, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL);
    n.loss = crn_reduce_mean(g, crn_sparse_softmax_cross_entropy(g, n.labels, n.logits));
    op_check(crn_initialize_variables(g));
    return n;
}

static crn_feed feed_images(const net *n, crn_shape shape)
{
    return (crn_feed){n->images, image_data, shape};
}

static crn_feed feed_labels(const net *n, crn_shape shape)
{
    return (crn_feed){n->labels, label_data, shape};
}

static crn_status run(crn_node *node, const crn_feed *feeds, size_t n_feeds)
{
    float data[64];
    crn_fetch fetch = {node, data, sizeof data, {0}};
    return crn_run(op_graph(), NULL, feeds, n_feeds, &fetch, 1);
}

/* The run must be refused with a text that holds the word; a right one must work after it. */
static void refuse(const net *n, const crn_feed *feeds, size_t n_feeds, const char *word)
{
    crn_status status = run(n->loss, feeds, n_feeds);
    const char *text = crn_graph_error(op_graph())->text;
    if (status != CRN_INVALID || strstr(text, word) == NULL)
        fail_msg("status %d: \"%s\" should be invalid and name \"%s\"", status, text, word);
    crn_feed right[] = {feed_images(n, CRN_SHAPE(2, 4)), feed_labels(n, CRN_SHAPE(2))};
    op_check(run(n->loss, right, 2));
}

static void missing_feeds_are_named(void **state)
{
    (void)state;
    net n = build();
    crn_feed images = feed_images(&n, CRN_SHAPE(2, 4)), labels = feed_labels(&n, CRN_SHAPE(2));
    refuse(&n, NULL, 0, "images");
    refuse(&n, &images, 1, "labels");
    refuse(&n, &labels, 1, "images");
    op_check(run(n.logits, &images, 1)); /* which needs no labels */
}

static void wrong_shapes_are_named(void **state)
{
    (void)state;
    net n = build();
    const crn_shape wrong[] = {
        {2, {2, 5}},         {2, {4, 2}},  {1, {8}},    {3, {2, 4, 1}},
        {2, {CRN_ANY, 4}},   {2, {-3, 4}}, {2, {0, 4}}, /* an empty batch has no mean */
        {2, {INT64_MAX, 4}}, {0, {0}},     {7, {2, 4}}, {-1, {2, 4}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        crn_feed feeds[] = {feed_images(&n, wrong[i]), feed_labels(&n, CRN_SHAPE(2))};
        refuse(&n, feeds, 2, "images");
        /* The order of feeds must not matter. */
        crn_feed other_way[] = {feeds[1], feeds[0]};
        refuse(&n, other_way, 2, "images");
    }
}

static void batches_must_agree(void **state)
{
    (void)state;
    net n = build();
    crn_feed feeds[] = {feed_images(&n, CRN_SHAPE(2, 4)), feed_labels(&n, CRN_SHAPE(3))};
    refuse(&n, feeds, 2, "labels");
}

static void unknown_nodes_are_refused(void **state)
{
    (void)state;
    net n = build();
    crn_feed right[] = {feed_images(&n, CRN_SHAPE(2, 4)), feed_labels(&n, CRN_SHAPE(2))};
    crn_feed feeds[] = {right[0], right[1], {n.logits, image_data, CRN_SHAPE(2, 3)}};
    refuse(&n, feeds, 3, crn_node_name(n.logits)); /* no placeholder */
    feeds[2] = (crn_feed){NULL, image_data, CRN_SHAPE(2, 3)};
    refuse(&n, feeds, 3, "feed");

    crn_graph *other;
    op_check(crn_graph_create(op_context(), &other));
    crn_node *foreign = crn_placeholder(other, "foreign", CRN_F32, CRN_SHAPE(CRN_ANY, 3));
    feeds[2] = (crn_feed){foreign, image_data, CRN_SHAPE(2, 3)};
    refuse(&n, feeds, 3, "foreign");
    crn_graph_free(other);
}

static void data_must_be_there(void **state)
{
    (void)state;
    net n = build();
    crn_feed feeds[] = {{n.images, NULL, CRN_SHAPE(2, 4)}, feed_labels(&n, CRN_SHAPE(2))};
    refuse(&n, feeds, 2, "images");
}

/* A closed placeholder takes its own shape only. */
static void closed_placeholders(void **state)
{
    (void)state;
    crn_node *x = crn_placeholder(op_graph(), "fixed", CRN_F32, CRN_SHAPE(2, 4));
    crn_node *y = crn_relu(op_graph(), x);
    crn_feed feed = {x, image_data, CRN_SHAPE(2, 4)};
    op_check(run(y, &feed, 1));
    feed.shape = CRN_SHAPE(3, 4);
    assert_int_equal(run(y, &feed, 1), CRN_INVALID);
    assert_non_null(strstr(crn_graph_error(op_graph())->text, "fixed"));
}

/* ---- fetches ---- */

static void refuse_fetch(const net *n, crn_fetch fetch)
{
    crn_feed feeds[] = {feed_images(n, CRN_SHAPE(2, 4)), feed_labels(n, CRN_SHAPE(2))};
    assert_int_equal(crn_run(op_graph(), NULL, feeds, 2, &fetch, 1), CRN_INVALID);
    assert_true(strlen(crn_graph_error(op_graph())->text) > 0);
    op_check(run(n->loss, feeds, 2));
}

static void wrong_fetches_are_refused(void **state)
{
    (void)state;
    net n = build();
    float data[6];
    refuse_fetch(&n, (crn_fetch){n.logits, data, sizeof data - 1, {0}});
    refuse_fetch(&n, (crn_fetch){n.logits, data, 0, {0}});
    refuse_fetch(&n, (crn_fetch){n.logits, NULL, sizeof data, {0}});
    refuse_fetch(&n, (crn_fetch){NULL, data, sizeof data, {0}});

    crn_graph *other;
    op_check(crn_graph_create(op_context(), &other));
    crn_node *foreign = crn_placeholder(other, "foreign", CRN_F32, CRN_SHAPE(2));
    refuse_fetch(&n, (crn_fetch){foreign, data, sizeof data, {0}});
    crn_graph_free(other);
}

/* A buffer may be larger than the value; what is beyond stays untouched. */
static void fetches_say_their_shape(void **state)
{
    (void)state;
    net n = build();
    float data[12];
    memset(data, 0x7F, sizeof data);
    crn_feed feed = feed_images(&n, CRN_SHAPE(3, 4));
    crn_fetch fetch = {n.logits, data, sizeof data, {0}};
    op_check(crn_run(op_graph(), NULL, &feed, 1, &fetch, 1));
    assert_true(crn_shape_equal(&fetch.shape, &CRN_SHAPE(3, 3)));
    for (size_t i = 9 * sizeof *data; i < sizeof data; i++)
        assert_int_equal(((unsigned char *)data)[i], 0x7F);
}

/* A node that two fetches name, a placeholder, a variable, an integer one. */
static void anything_can_be_fetched(void **state)
{
    (void)state;
    net n = build();
    float a[6], b[6], images[8], weights[12], loss;
    int32_t labels[2];
    crn_feed feeds[] = {feed_images(&n, CRN_SHAPE(2, 4)), feed_labels(&n, CRN_SHAPE(2))};
    crn_node *w = crn_variable_find(op_graph(), "fully_connected/weights");
    crn_fetch fetches[] = {
        {n.logits, a, sizeof a, {0}},           {n.images, images, sizeof images, {0}},
        {n.logits, b, sizeof b, {0}},           {w, weights, sizeof weights, {0}},
        {n.labels, labels, sizeof labels, {0}}, {n.loss, &loss, sizeof loss, {0}}};
    op_check(crn_run(op_graph(), NULL, feeds, 2, fetches, 6));
    assert_memory_equal(a, b, sizeof a);
    assert_memory_equal(images, image_data, sizeof images);
    assert_memory_equal(labels, label_data, sizeof labels);
    assert_true(crn_shape_equal(&fetches[3].shape, &CRN_SHAPE(4, 3)));
    assert_int_equal(fetches[5].shape.rank, 0);
    double *expected = op_get("fully_connected/weights");
    for (int i = 0; i < 12; i++)
        assert_true(weights[i] == (float)expected[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(missing_feeds_are_named),   OP_TEST(wrong_shapes_are_named),
        OP_TEST(batches_must_agree),        OP_TEST(unknown_nodes_are_refused),
        OP_TEST(data_must_be_there),        OP_TEST(closed_placeholders),
        OP_TEST(wrong_fetches_are_refused), OP_TEST(fetches_say_their_shape),
        OP_TEST(anything_can_be_fetched),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
