/*
 * clarinet: residual networks trained, fine-tuned and run on any OpenCL device.
 *
 * This umbrella brings the whole public API. The order below is the order in which to read it.
 */
#ifndef CLARINET_H
#define CLARINET_H

#include "clarinet/common.h"

#include "clarinet/device.h"

#include "clarinet/graph.h"

#include "clarinet/layers.h"

#include "clarinet/resnet.h"

#include "clarinet/optim.h"

#include "clarinet/tune.h"

#include "clarinet/checkpoint.h"

#include "clarinet/data.h"

#include "clarinet/train.h"

#endif
