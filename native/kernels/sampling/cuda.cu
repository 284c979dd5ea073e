// A block for each row. It does what engine/sampler.cpp does, so that the token is the same: the host has
// double precision for few tokens, and for many the weights of its kernels in single precision, and so has
// this. What differs is the order in which doubles are added.
//
// Instead of lists of tokens there are thresholds: what remains is all that is at or above one, of those that
// tie with it the first ones. A threshold is found by halving.

#include "kernels/activations/cuda.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/sampling/cuda_row.cuh"

namespace wkv::cuda {

namespace {

static_assert(sizeof(DrawShared) <= kMaxSharedBytes);

// As the host has them.
constexpr double kTried = 1024.0;
constexpr int kFew = 4096;

struct Draw {
  const DrawRow& options;
  DrawnRow row;
  float highest = 0;
  std::uint32_t own_largest = 0;  // of the thread's share
  // What remains: above `from`, or equal to it with an id of at most last_tie.
  float from = kLowestFloat;
  int last_tie = 0;
  bool few = false;  // weights are in double precision

  WKV_DEVICE double key(float value) const {
    return static_cast<double>(value) - static_cast<double>(highest);
  }
  WKV_DEVICE float single_weight(float value, float scale) const {
    return exponential((value - highest) * scale);
  }
  WKV_DEVICE float at_least(double exponent, double scale) const {
    return finite_below(static_cast<double>(highest) + (exponent - 1e-3) / scale);
  }

  // Penalties, biases and what is forbidden. False where there is nothing to draw.
  WKV_DEVICE bool bend() {
    bool wrong = false;
    row.for_each([&](int i, float value) {
      options.kept[i] = value;
      wrong = wrong || (bits_of(value) & 0x7fffffffU) >= 0x7f800000U;
    });
    sync_block();
    for (int i = row.thread; i < options.edit_count; i += row.threads) {
      const LogitEdit edit = options.edits[i];
      const double bent =
          static_cast<double>(row.x[edit.token]) - edit.penalty + static_cast<double>(edit.bias);
      row.x[edit.token] = static_cast<float>(bent);
      wrong = wrong || !(row.x[edit.token] <= -kLowestFloat);
    }
    sync_block();
    for (int i = row.thread; i < options.forbidden_count; i += row.threads) {
      row.x[options.forbidden[i]] = at_order(kMinusInfinityOrder);
    }
    sync_block();
    row.for_each([&](int, float value) {
      const std::uint32_t order = order_of(value);
      own_largest = order > own_largest ? order : own_largest;
    });
    const std::uint32_t largest = row.block_largest(wrong ? kInfinityOrder : own_largest);
    highest = at_order(largest) + 0.0F;  // not -0: what comes after it in the order is 0
    return largest > kMinusInfinityOrder && largest < kInfinityOrder;
  }

  WKV_DEVICE int most_probable() const {
    std::uint32_t own = 0;
    row.for_each([&](int i, float value) {
      if (value == highest && own == 0) own = ~static_cast<std::uint32_t>(i);
    });
    return static_cast<int>(~row.block_largest(own));
  }

  WKV_DEVICE void raise(float threshold) {
    if (!(threshold > from)) return;
    from = threshold;
    last_tie = row.size;
  }
  WKV_DEVICE bool remains(int i, float value) const {
    return value > from || (value == from && i <= last_tie);
  }

  // Few tokens if all that top-p can take are, or the first thousand reach it: engine/sampler.cpp has the
  // proof.
  WKV_DEVICE void top_p() {
    const auto everything = [](int, float) { return true; };
    const auto single = [&](float value) { return single_weight(value, 1.0F); };
    const auto in_double = [&](float value) { return static_cast<double>(single(value)); };
    row.add_units_single(everything, single);
    if (row.thread == 0) row.s.number = row.sum_of_units();
    sync_block();
    const double total = row.s.number;
    const auto all = static_cast<double>(row.size);
    const auto least_of = [&](double tokens) {
      return at_least(logarithm(total * (1.0 - options.top_p) / tokens), 1.0);
    };
    const double tried = all < kTried ? all : kTried;
    float low = least_of(tried);
    Measured found = row.measure(low, in_double);
    if (tried < all && found.count <= kFew && found.weight < (options.top_p + 1e-5) * total) {
      low = least_of(all);
      found = row.measure(low, in_double);
    }
    few = found.count <= kFew;
    if (few) {
      raise(row.reached(options.top_p * total, low, found.count, highest,
                        [&](float value) { return exponential(key(value)); }));
      return;
    }
    const double goal = options.top_p * row.measure(kLowestFloat, in_double).weight;
    low = least_of(all);
    raise(row.reached(goal, low, row.measure(low, in_double).count, highest, in_double));
  }

  WKV_DEVICE void top_k() {
    few = true;
    const auto one = [](float) { return 1.0; };
    const auto wanted = static_cast<double>(options.top_k);
    float low = from;
    if (options.top_k <= static_cast<std::uint32_t>(row.threads)) {
      // So many threads have a number at or above the bound.
      row.s.listed[row.thread] = at_order(own_largest);
      row.s.weights[row.thread] = 1.0;
      sync_block();
      const float bound =
          row.reached_by_listed(row.threads, kMinusInfinityOrder, order_of(highest) + 1, 0.0, wanted);
      low = bound > low ? bound : low;
    }
    raise(row.reached(wanted, low, row.measure(low, one).count, highest, one));
    const Measured higher = row.measure(from, [&](float value) { return value > from ? 1.0 : 0.0; });
    const auto ties = [&](int, float value) { return value == from; };
    row.add_units(ties, one);
    last_tie = row.pick(0.0, wanted - higher.weight - 1.0, ties, one);
  }

  WKV_DEVICE void min_p() {
    few = true;
    if (row.thread == 0) {
      std::uint32_t before = kMinusInfinityOrder;
      std::uint32_t first = order_of(highest);
      while (first - before > 1) {
        const std::uint32_t middle = before + (first - before) / 2;
        if (key(at_order(middle)) >= options.min_log) {
          first = middle;
        } else {
          before = middle;
        }
      }
      row.s.order = first;
    }
    sync_block();
    raise(at_order(row.s.order));
    sync_block();
  }

  WKV_DEVICE int token() {
    if (!bend()) return -1;
    if (options.inverse == 0.0) return most_probable();
    last_tie = row.size;
    if (options.top_p < 1.0) top_p();
    if (options.top_k != 0 && options.top_k < static_cast<std::uint32_t>(row.size)) top_k();
    if (options.min_log > -1e300) min_p();
    const auto stays = [&](int i, float value) { return remains(i, value); };
    if (!few) {
      // What weighs less than e^-87, the least weight that the host's kernels know, is never drawn.
      raise(at_least(-87.0, options.inverse));
      const auto scale = static_cast<float>(options.inverse);
      const auto single = [&](float value) { return single_weight(value, scale); };
      row.add_units_single(stays, single);
      return row.pick(options.random, 0.0, stays,
                      [&](float value) { return static_cast<double>(single(value)); });
    }
    const auto weight = [&](float value) { return exponential(key(value) * options.inverse); };
    row.add_units(stays, weight);
    return row.pick(options.random, 0.0, stays, weight);
  }
};

WKV_KERNEL(kDrawThreads) draw_kernel(WKV_ARGUMENTS DrawArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const int index = block_x();
  Draw draw{a.rows[index],
            {shared_memory<DrawShared>(), a.logits + static_cast<std::ptrdiff_t>(index) * a.vocabulary,
             a.vocabulary}};
  const int token = draw.token();
  if (thread_index() == 0) a.tokens[index] = token;
}

}  // namespace

void draw(const DrawArguments& arguments, cudaStream_t stream) {
  const int threads = (arguments.vocabulary + kWarp - 1) / kWarp * kWarp;
  const Grid grid{static_cast<unsigned>(arguments.count), 1,
                  static_cast<unsigned>(threads < kDrawThreads ? threads : kDrawThreads), sizeof(DrawShared)};
  launch(draw_kernel, grid, stream, arguments);
}

}  // namespace wkv::cuda
