#include "engine/step.h"

#include <algorithm>
#include <utility>

namespace wkv {

namespace {

// Of the widest matrix whose input is quantized.
int quantized_columns(const ModelInfo& info) {
  if (!is_quantized(info.weights)) return 0;
  return std::max({info.embedding, info.heads * info.head_size, info.feed_forward});
}

}  // namespace

StepBuffers::StepBuffers(const ModelInfo& info, unsigned lanes)
    : x(Network::kMaxTokens, info.embedding),
      normed(Network::kMaxTokens, info.embedding),
      update(Network::kMaxTokens, info.embedding),
      hidden(Network::kMaxTokens, info.feed_forward),
      logits(kLogitsTokens, info.vocabulary),
      scratch(lanes, Network::kMaxTokens, quantized_columns(info)) {}

Step::Step(const ModelInfo& model, const KernelTable& table, std::span<const Segment> all,
           StepBuffers& buffers, ThreadPool& threads, unsigned lane_count)
    : info(model),
      kernels(table),
      segments(all),
      b(buffers),
      pool(threads),
      lanes(lane_count),
      layer_numbers(model.state.numbers() / model.state.layers) {
  std::size_t offset = 0;
  for (const StatePart& part : info.state.parts) {
    part_offsets.push_back(offset);
    offset += part.count;
  }
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    first_token.push_back(places.size());
    for (std::size_t i = 0; i < segments[segment].tokens.size(); ++i) places.push_back({segment, i});
  }
  wanted.reserve(places.size());
}

void Step::norm(const NormWeights& weights, const float* x, float* output) const {
  kernels.layer_norm(x, weights.weight.data(), weights.bias.data(), kLayerNormEpsilon, info.embedding,
                     output);
}

void Step::add_product(const Matrix& weights, const Activation& input) {
  const Product product[] = {{&weights, &input, &b.update}};
  multiply(product, [&](std::size_t, std::size_t token, int row, int rows) {
    kernels.add(b.x.row(token) + row, b.update.row(token) + row, rows);
  });
}

void Step::embed(const OuterWeights& outer) {
  for_each_token([&](std::size_t token) {
    const Place place = places[token];
    const auto id = static_cast<int>(segments[place.segment].tokens[place.index]);
    outer.embedding.read_row(id, b.x.row(token));
    norm(outer.ln0, b.x.row(token), b.x.row(token));
  });
}

void Step::normalize(const NormWeights& weights) {
  for_each_token([&](std::size_t token) { norm(weights, b.x.row(token), b.normed.row(token)); });
}

const float* Step::before(std::size_t token, std::size_t part_index, std::size_t layer) const {
  const Place place = places[token];
  return place.index == 0 ? part(place.segment, layer, part_index) : b.normed.row(token - 1);
}

void Step::shift(std::size_t part_index, std::size_t layer, ShareOf share, std::span<const Shift> shifts) {
  for_each_token([&](std::size_t token) {
    const float* first = b.normed.row(token);
    const float* second = before(token, part_index, layer);
    if (share == ShareOf::kBefore) std::swap(first, second);
    for (const Shift& shift : shifts) {
      kernels.token_shift(first, second, shift.mix->data(), info.embedding, shift.output->row(token));
    }
  });
}

void Step::remember(std::size_t part_index, std::size_t layer) {
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    const std::size_t last = first_token[segment] + segments[segment].tokens.size() - 1;
    std::copy_n(b.normed.row(last), info.embedding, part(segment, layer, part_index));
  }
}

void Step::logits(const OuterWeights& outer, const LogitsSink& sink) {
  for (std::size_t token = 0; token < places.size(); ++token) {
    const Segment& segment = segments[places[token].segment];
    const bool last = places[token].index + 1 == segment.tokens.size();
    if (segment.logits == Logits::kAll || (segment.logits == Logits::kLast && last)) wanted.push_back(token);
  }
  for (std::size_t begin = 0; begin < wanted.size(); begin += kLogitsTokens) {
    const std::size_t count = std::min(kLogitsTokens, wanted.size() - begin);
    pool.run(count < 8 ? 1 : lanes, count, [&](std::size_t i, unsigned) {
      norm(outer.ln_out, b.x.row(wanted[begin + i]), b.normed.row(i));
    });
    const Product head[] = {{&outer.head, &b.normed, &b.logits}};
    wkv::multiply(kernels, pool, lanes, b.scratch, count, head, [](std::size_t, std::size_t, int, int) {});
    pool.run(lanes, count, [&](std::size_t i, unsigned) {
      const Place place = places[wanted[begin + i]];
      sink(place.segment, place.index, b.logits.row(i));
    });
  }
}

}  // namespace wkv
