// The forward pass of RWKV-5.2, a step of up to kMostTokens tokens of any number of sessions.

#include <algorithm>
#include <array>

#include "backend/cpu/cpu_features.h"
#include "engine/activation.h"
#include "engine/matrix_product.h"
#include "engine/rwkv5_network.h"

namespace wkv::rwkv5 {

namespace {

constexpr float kLayerNormEpsilon = 1e-5F;
// Tokens whose logits are computed together; bounds the memory for logits.
constexpr std::size_t kLogitsTokens = 32;

struct Buffers final : Workspace {
  Buffers(const ModelInfo& info, unsigned lane_count)
      : x(Network::kMostTokens, info.embedding),
        normed(Network::kMostTokens, info.embedding),
        mixed_k(Network::kMostTokens, info.embedding),
        mixed_v(Network::kMostTokens, info.embedding),
        mixed_r(Network::kMostTokens, info.embedding),
        mixed_g(Network::kMostTokens, info.embedding),
        r(Network::kMostTokens, info.heads * info.head_size),
        k(Network::kMostTokens, info.heads * info.head_size),
        v(Network::kMostTokens, info.heads * info.head_size),
        g(Network::kMostTokens, info.heads * info.head_size),
        y(Network::kMostTokens, info.heads * info.head_size),
        gate(Network::kMostTokens, info.embedding),
        update(Network::kMostTokens, info.embedding),
        hidden(Network::kMostTokens, info.feed_forward),
        logits(kLogitsTokens, info.vocabulary),
        scratch(lane_count, Network::kMostTokens, quantized_columns(info)) {}

  // Of the widest matrix whose input is quantized.
  static int quantized_columns(const ModelInfo& info) {
    if (!is_quantized(info.weights)) return 0;
    return std::max({info.embedding, info.heads * info.head_size, info.feed_forward});
  }

  Activation x;  // the residual stream
  Activation normed;
  Activation mixed_k, mixed_v, mixed_r, mixed_g;
  Activation r, k, v, g, y;
  Activation gate, update, hidden;
  Activation logits;
  MatrixScratch scratch;
};

class Rwkv5 final : public Network {
 public:
  Rwkv5(ModelInfo info, Weights weights, float group_norm_epsilon)
      : info_(std::move(info)),
        weights_(std::move(weights)),
        group_norm_epsilon_(group_norm_epsilon),
        kernels_(selected_kernels()) {}

  const ModelInfo& info() const override { return info_; }

  std::unique_ptr<Workspace> create_workspace(unsigned lanes) const override {
    return std::make_unique<Buffers>(info_, lanes);
  }

  void initialize(float* state) const override { std::fill_n(state, info_.state.numbers(), 0.0F); }

  bool step(std::span<const Segment> segments, Workspace& workspace, ThreadPool& pool, unsigned lanes,
            const LogitsSink& sink, const Abandon& abandon) const override {
    Step step{*this, segments, static_cast<Buffers&>(workspace), pool, lanes};
    step.embed();
    for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
      if (abandon()) return false;
      step.time_mixing(weights_.layers[layer].attention, weights_.layers[layer].ln1, layer);
      step.channel_mixing(weights_.layers[layer].feed_forward, weights_.layers[layer].ln2, layer);
    }
    step.logits(sink);
    return true;
  }

 private:
  // The tokens of a step in a row, and for each where it belongs.
  struct Step {
    struct Place {
      std::size_t segment;
      std::size_t index;  // in its segment
    };

    Step(const Rwkv5& network, std::span<const Segment> all, Buffers& workspace, ThreadPool& threads,
         unsigned lane_count)
        : net(network),
          info(network.info_),
          kernels(network.kernels_),
          segments(all),
          b(workspace),
          pool(threads),
          lanes(lane_count) {
      for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        first_token.push_back(places.size());
        for (std::size_t i = 0; i < segments[segment].tokens.size(); ++i) places.push_back({segment, i});
      }
      wanted.reserve(places.size());
    }

    // A layer's part of a session's state: att_x [D], ffn_x [D], wkv [head][key][value].
    float* state(std::size_t segment, std::size_t layer) const {
      return segments[segment].state + layer * (info.state.numbers() / info.state.layers);
    }
    float* att_x(std::size_t segment, std::size_t layer) const { return state(segment, layer); }
    float* ffn_x(std::size_t segment, std::size_t layer) const {
      return state(segment, layer) + info.embedding;
    }
    float* wkv(std::size_t segment, std::size_t layer) const {
      return state(segment, layer) + 2 * static_cast<std::size_t>(info.embedding);
    }

    template <class Task>
    void for_each_token(Task&& task) {
      // Element-wise work on few tokens is done before another thread would be awake.
      const bool small = places.size() * static_cast<std::size_t>(info.embedding) < 32'768;
      pool.run(small ? 1 : lanes, places.size(), [&](std::size_t token, unsigned) { task(token); });
    }

    template <class Epilogue>
    void multiply(std::span<const Product> products, Epilogue&& epilogue) {
      wkv::multiply(kernels, pool, lanes, b.scratch, places.size(), products, epilogue);
    }

    // x = LN(embedding[token]; ln0)
    void embed() {
      for_each_token([&](std::size_t token) {
        const Place place = places[token];
        const auto id = static_cast<int>(segments[place.segment].tokens[place.index]);
        net.weights_.embedding.read_row(id, b.x.row(token));
        norm(net.weights_.ln0, b.x.row(token), b.x.row(token));
      });
    }

    void norm(const NormWeights& weights, const float* x, float* output) {
      kernels.layer_norm(x, weights.weight.data(), weights.bias.data(), kLayerNormEpsilon, info.embedding,
                         output);
    }

    // normed = LN(x); each mixed = token shift of normed. `previous` finds the last token's LN output in a
    // state; it is replaced by this segment's last.
    template <class Previous, std::size_t kCount>
    void norm_and_shift(const NormWeights& weights, Previous previous,
                        const std::array<std::pair<const std::vector<float>*, Activation*>, kCount>& mixes) {
      for_each_token([&](std::size_t token) { norm(weights, b.x.row(token), b.normed.row(token)); });
      for_each_token([&](std::size_t token) {
        const Place place = places[token];
        const float* before = place.index == 0 ? previous(place.segment) : b.normed.row(token - 1);
        for (const auto& [mix, output] : mixes) {
          kernels.token_shift(b.normed.row(token), before, mix->data(), info.embedding, output->row(token));
        }
      });
      for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const std::size_t last = first_token[segment] + segments[segment].tokens.size() - 1;
        std::copy_n(b.normed.row(last), info.embedding, previous(segment));
      }
    }

    // x += O (GroupNorm(WKV(r, k, v)) * silu(g))
    void time_mixing(const Layer::Attention& att, const NormWeights& ln, std::size_t layer) {
      norm_and_shift(
          ln, [&](std::size_t segment) { return att_x(segment, layer); },
          std::array{std::pair{&att.mix_k, &b.mixed_k}, std::pair{&att.mix_v, &b.mixed_v},
                     std::pair{&att.mix_r, &b.mixed_r}, std::pair{&att.mix_g, &b.mixed_g}});
      const Product inputs[] = {{&att.receptance, &b.mixed_r, &b.r},
                                {&att.key, &b.mixed_k, &b.k},
                                {&att.value, &b.mixed_v, &b.v},
                                {&att.gate, &b.mixed_g, &b.g}};
      multiply(inputs, [](std::size_t, std::size_t, int, int) {});
      recurrence(att, layer);
      const Product output[] = {{&att.output, &b.y, &b.update}};
      multiply(output, [&](std::size_t, std::size_t token, int row, int rows) {
        kernels.add(b.x.row(token) + row, b.update.row(token) + row, rows);
      });
    }

    // y = GroupNorm(WKV) * silu(g), head by head: a head's state stays in the cache over all tokens.
    void recurrence(const Layer::Attention& att, std::size_t layer) {
      const auto heads = static_cast<std::size_t>(info.heads);
      const std::size_t work = places.size() * info.state.parts[2].count;
      pool.run(work < 200'000 ? 1 : lanes, segments.size() * heads, [&](std::size_t item, unsigned) {
        const std::size_t segment = item / heads;
        const std::size_t first = first_token[segment];
        const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(item % heads) * info.head_size;
        kernels.wkv5({
            .r = b.r.row(first) + channel,
            .k = b.k.row(first) + channel,
            .v = b.v.row(first) + channel,
            .forget = att.forget.data() + channel,
            .u = att.bonus.data() + channel,
            .state = wkv(segment, layer) + channel * info.head_size,
            .y = b.y.row(first) + channel,
            .stride = b.r.stride,
            .tokens = static_cast<int>(segments[segment].tokens.size()),
            .head_size = info.head_size,
        });
        for (std::size_t i = 0; i < segments[segment].tokens.size(); ++i) {
          float* y = b.y.row(first + i) + channel;
          kernels.layer_norm(y, att.ln_x.weight.data() + channel, att.ln_x.bias.data() + channel,
                             net.group_norm_epsilon_, info.head_size, y);
          kernels.multiply_silu(y, b.g.row(first + i) + channel, info.head_size);
        }
      });
    }

    // x += sigmoid(R xr) * (V relu(K xk)^2)
    void channel_mixing(const Layer::FeedForward& ffn, const NormWeights& ln, std::size_t layer) {
      norm_and_shift(
          ln, [&](std::size_t segment) { return ffn_x(segment, layer); },
          std::array{std::pair{&ffn.mix_k, &b.mixed_k}, std::pair{&ffn.mix_r, &b.mixed_r}});
      const Product inputs[] = {{&ffn.key, &b.mixed_k, &b.hidden}, {&ffn.receptance, &b.mixed_r, &b.gate}};
      multiply(inputs, [&](std::size_t product, std::size_t token, int row, int rows) {
        if (product == 0) kernels.relu_squared(b.hidden.row(token) + row, rows);
      });
      const Product value[] = {{&ffn.value, &b.hidden, &b.update}};
      multiply(value, [&](std::size_t, std::size_t token, int row, int rows) {
        kernels.add_gated(b.x.row(token) + row, b.gate.row(token) + row, b.update.row(token) + row, rows);
      });
    }

    // head LN(x; ln_out), for the tokens that were asked for.
    void logits(const LogitsSink& sink) {
      for (std::size_t token = 0; token < places.size(); ++token) {
        const Segment& segment = segments[places[token].segment];
        const bool last = places[token].index + 1 == segment.tokens.size();
        if (segment.logits == Logits::kAll || (segment.logits == Logits::kLast && last))
          wanted.push_back(token);
      }
      for (std::size_t begin = 0; begin < wanted.size(); begin += kLogitsTokens) {
        const std::size_t count = std::min(kLogitsTokens, wanted.size() - begin);
        pool.run(count < 8 ? 1 : lanes, count, [&](std::size_t i, unsigned) {
          norm(net.weights_.ln_out, b.x.row(wanted[begin + i]), b.normed.row(i));
        });
        const Product head[] = {{&net.weights_.head, &b.normed, &b.logits}};
        wkv::multiply(kernels, pool, lanes, b.scratch, count, head,
                      [](std::size_t, std::size_t, int, int) {});
        pool.run(lanes, count, [&](std::size_t i, unsigned) {
          const Place place = places[wanted[begin + i]];
          sink(place.segment, place.index, b.logits.row(i));
        });
      }
    }

    const Rwkv5& net;
    const ModelInfo& info;
    const KernelTable& kernels;
    std::span<const Segment> segments;
    Buffers& b;
    ThreadPool& pool;
    unsigned lanes;
    std::vector<Place> places;
    std::vector<std::size_t> first_token;
    std::vector<std::size_t> wanted;  // the tokens whose logits are asked for
  };

  ModelInfo info_;
  Weights weights_;
  float group_norm_epsilon_;
  const KernelTable& kernels_;
};

}  // namespace

std::shared_ptr<const Network> make_network(ModelInfo info, Weights weights, float group_norm_epsilon) {
  return std::make_shared<Rwkv5>(std::move(info), std::move(weights), group_norm_epsilon);
}

}  // namespace wkv::rwkv5
