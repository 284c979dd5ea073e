#pragma once

// A row of logits as a block sees it: passes over all of it, and searches for a threshold. Every order of
// adding is fixed, so that the same numbers give the same bits.

#include "kernels/sampling/cuda.cuh"
#include "kernels/sampling/cuda.h"

namespace wkv::cuda {

constexpr int kDrawThreads = 1024;
constexpr int kUnit = 1024;    // ids whose weights a warp adds up, and which it then looks at one by one
constexpr int kRun = 512;      // ids whose weights the host's kernels add up in single precision
constexpr int kListed = 2048;  // so few numbers are searched by a single warp

struct DrawShared {
  double sums[kMaxDrawnVocabulary / kUnit];
  double weights[kListed];
  float listed[kListed];
  double warp_weights[kWarp];
  std::uint32_t warp_numbers[kWarp];
  double number;  // what one thread tells the others
  std::uint32_t order;
  int index;
};

struct Measured {
  double weight;
  int count;
};

struct DrawnRow {
  DrawShared& s;
  float* const x;
  const int size;
  const int thread = thread_index();
  const int threads = block_threads();
  const int lane = thread % kWarp;
  const int warp = thread / kWarp;
  const int warps = threads / kWarp;

  // Calls visit(i, x[i]) for the thread's share. Some numbers are on their way at a time.
  template <class Visit>
  WKV_DEVICE void for_each(Visit visit) const {
    constexpr int kAtOnce = 8;
    for (int first = thread; first < size; first += kAtOnce * threads) {
      float values[kAtOnce];
      WKV_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        values[j] = first + j * threads < size ? x[first + j * threads] : 0.0F;
      }
      WKV_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        if (first + j * threads < size) visit(first + j * threads, values[j]);
      }
    }
  }

  WKV_DEVICE std::uint32_t block_largest(std::uint32_t own) const {
    own = warp_largest(own);
    if (lane == 0) s.warp_numbers[warp] = own;
    sync_block();
    const std::uint32_t largest = warp_largest(lane < warps ? s.warp_numbers[lane] : 0);
    sync_block();
    return largest;
  }

  // How many numbers are at or above the threshold, and what weight(x) gives for them together.
  template <class Weight>
  WKV_DEVICE Measured measure(float threshold, Weight weight) const {
    Measured own{0.0, 0};
    for_each([&](int, float value) {
      if (!(value >= threshold)) return;
      own.weight += weight(value);
      ++own.count;
    });
    own.weight = warp_sum(own.weight);
    own.count = warp_sum(own.count);
    if (lane == 0) {
      s.warp_weights[warp] = own.weight;
      s.warp_numbers[warp] = static_cast<std::uint32_t>(own.count);
    }
    sync_block();
    const double weight_of_warp = lane < warps ? s.warp_weights[lane] : 0.0;
    const int count_of_warp = lane < warps ? static_cast<int>(s.warp_numbers[lane]) : 0;
    const Measured all{warp_sum(weight_of_warp), warp_sum(count_of_warp)};
    sync_block();
    return all;
  }

  // Lists the numbers of low <= x < end and their weights, and returns how many there are, at most kListed.
  template <class Weight>
  WKV_DEVICE int list(float low, float end, Weight weight) const {
    int own = 0;
    for_each([&](int, float value) { own += value >= low && value < end ? 1 : 0; });
    // Where the thread's begin: each step adds the half of twice as many lanes that lies before.
    int place = 0;
    int of_warp = own;
    for (int mask = 1; mask < kWarp; mask *= 2) {
      const int other = shuffle_xor(of_warp, mask);
      if ((lane & mask) != 0) place += other;
      of_warp += other;
    }
    if (lane == 0) s.warp_numbers[warp] = static_cast<std::uint32_t>(of_warp);
    sync_block();
    const int of_other = lane < warps ? static_cast<int>(s.warp_numbers[lane]) : 0;
    place += warp_sum(lane < warp ? of_other : 0);
    const int count = warp_sum(of_other);
    if (own > 0) {
      for_each([&](int, float value) {
        if (!(value >= low && value < end)) return;
        s.listed[place] = value;
        s.weights[place] = weight(value);
        ++place;
      });
    }
    sync_block();
    return count;
  }

  // Among the floats of the orders low to end - 1: the highest that listed numbers are at or above which
  // weigh `goal` together, with `above`; else the first.
  WKV_DEVICE float reached_by_listed(int count, std::uint32_t low, std::uint32_t end, double above,
                                     double goal) const {
    if (warp == 0) {
      while (end - low > 1) {
        const std::uint32_t middle = low + (end - low) / 2;
        double weight = 0.0;
        for (int i = lane; i < count; i += kWarp) {
          if (s.listed[i] >= at_order(middle)) weight += s.weights[i];
        }
        if (above + warp_sum(weight) >= goal) {
          low = middle;
        } else {
          end = middle;
        }
      }
      if (lane == 0) s.order = low;
    }
    sync_block();
    const float found = at_order(s.order);
    sync_block();
    return found;
  }

  // The highest float from `low` to `highest` that numbers are at or above which weigh `goal` together; `low`
  // where there is none. `count` numbers are at or above `low`. Halves what is between until the numbers in
  // there are few: their range and, so that a range of any size ends soon, how many floats it has, in turns.
  template <class Weight>
  WKV_DEVICE float reached(double goal, float low, int count, float highest, Weight weight) const {
    std::uint32_t first = order_of(low);
    std::uint32_t end = order_of(highest) + 1;
    Measured from_end{0.0, 0};
    for (bool by_value = true; count - from_end.count > kListed && end - first > 1; by_value = !by_value) {
      std::uint32_t middle = first + (end - first) / 2;
      if (by_value) {
        const double sum = static_cast<double>(at_order(first)) + static_cast<double>(at_order(end - 1));
        middle = order_of(static_cast<float>(0.5 * sum));
        middle = middle > first ? middle : first + 1;
      }
      const Measured from_middle = measure(at_order(middle), weight);
      if (from_middle.weight >= goal) {
        first = middle;
        count = from_middle.count;
      } else {
        end = middle;
        from_end = from_middle;
      }
    }
    if (end - first <= 1) return at_order(first);
    // What comes after 0 in the order is 0 where denormal numbers are.
    const float before = from_end.count > 0 ? at_order(end) : at_order(kInfinityOrder);
    const int listed = list(at_order(first), before, weight);
    return reached_by_listed(listed, first, end, from_end.weight, goal);
  }

  // sums[u] = the weights of the unit u, in double precision. holds(i, x) says whether a number counts.
  template <class Holds, class Weight>
  WKV_DEVICE void add_units(Holds holds, Weight weight) const {
    for (int unit = warp; unit * kUnit < size; unit += warps) {
      double sum = 0.0;
      for (int step = 0; step < kUnit; step += kWarp) {
        const int i = unit * kUnit + step + lane;
        if (i < size && holds(i, x[i])) sum += weight(x[i]);
      }
      sum = warp_sum(sum);
      if (lane == 0) s.sums[unit] = sum;
    }
    sync_block();
  }

  // The same with weights in single precision, added as the host's kernels do (sum_16 in sampling.inl.h):
  // sixteen lanes a run, two runs a unit.
  template <class Holds, class Weight>
  WKV_DEVICE void add_units_single(Holds holds, Weight weight) const {
    for (int unit = warp; unit * kUnit < size; unit += warps) {
      float sum = 0.0F;
      for (int step = 0; step < kRun; step += 16) {
        const int i = unit * kUnit + lane / 16 * kRun + step + lane % 16;
        if (i < size && holds(i, x[i])) sum += weight(x[i]);
      }
      for (int mask = 8; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
      auto both = static_cast<double>(sum);
      both += shuffle_xor(both, 16);
      if (lane == 0) s.sums[unit] = both;
    }
    sync_block();
  }

  WKV_DEVICE double sum_of_units() const {
    double sum = 0.0;
    for (int unit = 0; unit * kUnit < size; ++unit) sum += s.sums[unit];
    return sum;
  }

  // The first of some weights that, with those before it, is above `left`; takes those before it off. The
  // last that is not 0 where rounding leaves the sum short of the whole.
  static WKV_DEVICE int walk(const double* weights, int count, double& left) {
    double rest = left;
    int found = 0;
    for (int i = 0; i < count; ++i) {
      if (weights[i] == 0.0) continue;
      found = i;
      left = rest;
      if (rest < weights[i]) break;
      rest -= weights[i];
    }
    return found;
  }

  // After one of add_units, with the same weights: the id where they, in ascending order of ids, pass
  // share * their sum + offset.
  template <class Holds, class Weight>
  WKV_DEVICE int pick(double share, double offset, Holds holds, Weight weight) const {
    if (thread == 0) {
      double left = share * sum_of_units() + offset;
      s.index = walk(s.sums, (size + kUnit - 1) / kUnit, left);
      s.number = left;
    }
    sync_block();
    const int begin = s.index * kUnit;
    for (int chunk = warp; chunk < kUnit / kWarp; chunk += warps) {
      const int i = begin + chunk * kWarp + lane;
      const double own = i < size && holds(i, x[i]) ? weight(x[i]) : 0.0;
      s.weights[chunk * kWarp + lane] = own;
      const double sum = warp_sum(own);
      if (lane == 0) s.warp_weights[chunk] = sum;
    }
    sync_block();
    if (thread == 0) {
      double left = s.number;
      const int chunk = walk(s.warp_weights, kUnit / kWarp, left);
      s.index = begin + chunk * kWarp + walk(s.weights + chunk * kWarp, kWarp, left);
    }
    sync_block();
    const int found = s.index;
    sync_block();
    return found;
  }
};

}  // namespace wkv::cuda
