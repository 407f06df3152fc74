/* The optimizers: a constructor and a row of the table for each. */
#include <stddef.h>

#include "core/error.h"
#include "optim/table.h"

#define MEMBER(name) offsetof(crn_optimizer, name)
#define NO_MEMBER SIZE_MAX

crn_optimizer crn_gradient_descent(float learning_rate)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_GRADIENT_DESCENT, .learning_rate = learning_rate};
}

crn_optimizer crn_momentum(float learning_rate, float momentum)
{
    return (crn_optimizer){
        .kind = CRN_OPTIMIZER_MOMENTUM, .learning_rate = learning_rate, .momentum = momentum};
}

crn_optimizer crn_nesterov(float learning_rate, float momentum)
{
    crn_optimizer o = crn_momentum(learning_rate, momentum);
    o.nesterov = true;
    return o;
}

crn_optimizer crn_rmsprop(float learning_rate)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_RMSPROP,
                           .learning_rate = learning_rate,
                           .decay = 0.9f,
                           .epsilon = 1e-10f};
}

crn_optimizer crn_adam(float learning_rate)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_ADAM,
                           .learning_rate = learning_rate,
                           .beta1 = 0.9f,
                           .beta2 = 0.999f,
                           .epsilon = 1e-8f};
}

crn_optimizer crn_adamw(float learning_rate, float weight_decay)
{
    crn_optimizer o = crn_adam(learning_rate);
    o.kind = CRN_OPTIMIZER_ADAMW;
    o.weight_decay = weight_decay;
    return o;
}

crn_optimizer crn_adagrad(float learning_rate)
{
    return (crn_optimizer){
        .kind = CRN_OPTIMIZER_ADAGRAD, .learning_rate = learning_rate, .initial = 0.1f};
}

crn_optimizer crn_adadelta(float learning_rate)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_ADADELTA,
                           .learning_rate = learning_rate,
                           .decay = 0.95f,
                           .epsilon = 1e-8f};
}

crn_optimizer crn_ftrl(float learning_rate)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_FTRL,
                           .learning_rate = learning_rate,
                           .initial = 0.1f,
                           .power = -0.5f};
}

crn_optimizer crn_lars(float learning_rate, float momentum, float weight_decay)
{
    return (crn_optimizer){.kind = CRN_OPTIMIZER_LARS,
                           .learning_rate = learning_rate,
                           .momentum = momentum,
                           .trust = 0.001f,
                           .weight_decay = weight_decay};
}

#define ZERO            \
    {                   \
        NO_MEMBER, 0.0f \
    }
#define ONE             \
    {                   \
        NO_MEMBER, 1.0f \
    }
#define FROM(name)         \
    {                      \
        MEMBER(name), 0.0f \
    }
#define RATE MEMBER(learning_rate)
#define RMSPROP_SETTINGS                                       \
    4,                                                         \
    {                                                          \
        RATE, MEMBER(decay), MEMBER(momentum), MEMBER(epsilon) \
    }
#define ADAM_SETTINGS RATE, MEMBER(beta1), MEMBER(beta2), MEMBER(epsilon)

/* kind, variant, kernel, slot, slots, initial, has_powers, has_trust, settings */
static const crn__optimizer_row rows[] = {
    {CRN_OPTIMIZER_GRADIENT_DESCENT,
     false,
     "gradient_descent",
     NULL,
     0,
     {ZERO},
     false,
     false,
     1,
     {RATE}},
    {CRN_OPTIMIZER_MOMENTUM,
     false,
     "momentum",
     "Momentum",
     1,
     {ZERO},
     false,
     false,
     2,
     {RATE, MEMBER(momentum)}},
    {CRN_OPTIMIZER_MOMENTUM,
     true,
     "nesterov",
     "Momentum",
     1,
     {ZERO},
     false,
     false,
     2,
     {RATE, MEMBER(momentum)}},
    {CRN_OPTIMIZER_RMSPROP,
     false,
     "rmsprop",
     "RMSProp",
     2,
     {ONE, ZERO},
     false,
     false,
     RMSPROP_SETTINGS},
    {CRN_OPTIMIZER_RMSPROP,
     true,
     "rmsprop_centered",
     "RMSProp",
     3,
     {ONE, ZERO, ZERO},
     false,
     false,
     RMSPROP_SETTINGS},
    {CRN_OPTIMIZER_ADAM, false, "adam", "Adam", 2, {ZERO, ZERO}, true, false, 4, {ADAM_SETTINGS}},
    {CRN_OPTIMIZER_ADAMW,
     false,
     "adamw",
     "AdamW",
     2,
     {ZERO, ZERO},
     true,
     false,
     5,
     {ADAM_SETTINGS, MEMBER(weight_decay)}},
    {CRN_OPTIMIZER_ADAGRAD,
     false,
     "adagrad",
     "Adagrad",
     1,
     {FROM(initial)},
     false,
     false,
     1,
     {RATE}},
    {CRN_OPTIMIZER_ADADELTA,
     false,
     "adadelta",
     "Adadelta",
     2,
     {ZERO, ZERO},
     false,
     false,
     3,
     {RATE, MEMBER(decay), MEMBER(epsilon)}},
    {CRN_OPTIMIZER_FTRL,
     false,
     "ftrl",
     "Ftrl",
     2,
     {FROM(initial), ZERO},
     false,
     false,
     4,
     {RATE, MEMBER(l1), MEMBER(l2), MEMBER(power)}},
    {CRN_OPTIMIZER_LARS,
     false,
     "lars",
     "LARSOptimizer",
     1,
     {ZERO},
     false,
     true,
     3,
     {RATE, MEMBER(momentum), MEMBER(weight_decay)}},
};

/* Whether the numbers that divide, or whose roots are taken, are such. */
static crn_status check_numbers(const crn_optimizer *o, crn_error *error)
{
    if (!(o->decay >= 0.0f && o->decay <= 1.0f) || !(o->beta1 >= 0.0f && o->beta1 < 1.0f) ||
        !(o->beta2 >= 0.0f && o->beta2 < 1.0f))
        return crn__fail(error, CRN_INVALID,
                         "the optimizer's decay %g, beta1 %g and beta2 %g must be in [0,1)",
                         (double)o->decay, (double)o->beta1, (double)o->beta2);
    if (!(o->epsilon >= 0.0f) || !(o->l1 >= 0.0f) || !(o->l2 >= 0.0f) || !(o->power <= 0.0f))
        return crn__fail(error, CRN_INVALID,
                         "the optimizer's epsilon %g, l1 %g and l2 %g must not be negative, its "
                         "power %g not positive",
                         (double)o->epsilon, (double)o->l1, (double)o->l2, (double)o->power);
    if ((o->kind == CRN_OPTIMIZER_ADAGRAD || o->kind == CRN_OPTIMIZER_FTRL) && !(o->initial > 0.0f))
        return crn__fail(error, CRN_INVALID, "the optimizer's initial %g must be positive",
                         (double)o->initial);
    return CRN_OK;
}

const crn__optimizer_row *crn__optimizer_find(const crn_optimizer *optimizer, crn_error *error)
{
    if (check_numbers(optimizer, error) != CRN_OK)
        return NULL;
    bool variant = optimizer->nesterov || optimizer->centered;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kind == optimizer->kind && rows[i].variant == variant)
            return &rows[i];
    crn__fail(error, CRN_INVALID, "unknown optimizer %d%s", (int)optimizer->kind,
              variant ? ", nesterov or centered" : "");
    return NULL;
}
