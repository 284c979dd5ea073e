// Products of four warps in the background. Each lane computes its own sums, as late as it may.

#include <cstring>

#include "simt/block.h"
#include "simt/races.h"

namespace wkv::cuda::simt {

namespace {

constexpr int kPartRows = 8;
constexpr int kPartColumns = 16;
constexpr int kProductColumns = 32;
constexpr int kWarpRows = 16;
constexpr int kWarpsTogether = 4;

using Row = std::array<std::int8_t, kProductColumns>;

Row read_row(const Matrix& matrix, int row) {
  Row result;
  for (int part = 0; part < kProductColumns / kPartColumns; ++part) {
    const auto* const place =
        static_cast<const unsigned char*>(matrix.first) +
        (part * matrix.columns_step + row / kPartRows * matrix.rows_step + row % kPartRows) * kPartColumns;
    if (!is_shared(*current_block(), place, kPartColumns)) fail("multiplies what is not shared memory");
    races::on_read(place, kPartColumns);
    std::memcpy(result.data() + part * kPartColumns, place, kPartColumns);
  }
  return result;
}

std::int32_t dot(const Row& a, const Row& b) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void compute(const WideProduct& product) {
  const int thread = current_thread()->place.thread;
  const int lane = thread % kLanes;
  const int row = thread / kLanes % kWarpsTogether * kWarpRows + lane / 4;
  const Row weights[] = {read_row(product.weights, row), read_row(product.weights, row + kPartRows)};
  for (int tile = 0; tile < product.tokens / kPartRows; ++tile) {
    for (int which = 0; which < 2; ++which) {
      const Row codes = read_row(product.codes, tile * kPartRows + lane % 4 * 2 + which);
      for (int half = 0; half < 2; ++half) {
        std::int32_t& sum = product.sums[4 * tile + 2 * half + which];
        sum = (product.add ? sum : 0) + dot(weights[half], codes);
      }
    }
  }
}

}  // namespace

void begin_products() { current_thread()->products = true; }

void begin_product(const WideProduct& product) {
  Thread& self = *current_thread();
  if (!self.products) fail("multiplies without begin_products()");
  if (!self.shown) fail("multiplies what copies brought without fence_proxy_async()");
  self.pending_products.push_back({product, self.product_batch});
}

void commit_products() {
  current_thread()->products = false;
  ++current_thread()->product_batch;
}

void wait_products(int pending) {
  Thread& self = *current_thread();
  std::erase_if(self.pending_products, [&](const PendingProduct& each) {
    if (each.batch >= self.product_batch - pending) return false;
    compute(each.product);
    return true;
  });
}

void show_copies() { current_thread()->shown = true; }

}  // namespace wkv::cuda::simt
