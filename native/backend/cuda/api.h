#ifndef WKV_CUDA_API_H
#define WKV_CUDA_API_H

/*
 * The library of the CUDA backend, as a program that does not know CUDA sees it: one exported function,
 * wkv_cuda_api, which returns a table of functions. Plain C: nothing is thrown or exited, every function
 * returns a code, and on anything but WKV_CUDA_OK says in `failure` what was wrong.
 *
 * A model is an RWKV of any version from 4 to 7 with matrices in int8 or int4, in the panels of
 * native/kernels/gemm_int8 and gemm_int4. Its sessions' states are pages in the GPU's memory, which may
 * outlive it. The functions of one model and its pages may be called from any thread; but for destroy_page
 * they wait for each other.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WKV_CUDA_API_VERSION 6

enum WkvCudaCode {
  WKV_CUDA_OK = 0,
  WKV_CUDA_NO_DRIVER = 1,
  WKV_CUDA_OLD_DRIVER = 2,
  WKV_CUDA_NO_DEVICE = 3,
  WKV_CUDA_ARCHITECTURE = 4, /* the library has no code for this GPU */
  WKV_CUDA_MEMORY = 5,       /* of the GPU or of the host; what was asked for was not done */
  WKV_CUDA_LOST = 6,         /* the GPU no longer answers; the model is of no more use */
  WKV_CUDA_ARGUMENT = 7,     /* the call makes no sense */
  WKV_CUDA_UNSUPPORTED = 8   /* dimensions that the kernels do not take */
};

struct WkvCudaFailure {
  int32_t code;
  char text[508]; /* one sentence, ends with 0 */
};

struct WkvCudaDevice {
  char name[256];
  int32_t major; /* compute capability */
  int32_t minor;
  uint64_t memory; /* bytes */
  uint64_t free_memory;
};

enum WkvCudaArchitecture {
  WKV_CUDA_RWKV4,
  WKV_CUDA_RWKV5_0, /* without a gate */
  WKV_CUDA_RWKV5,   /* 5.1 and 5.2 */
  WKV_CUDA_RWKV6,
  WKV_CUDA_RWKV7
};

struct WkvCudaShape {
  int32_t architecture;
  int32_t layers;
  int32_t channels;
  int32_t heads; /* of RWKV-4: one for each channel of attention, of size 1 */
  int32_t head_size;
  int32_t feed_forward;
  int32_t vocabulary;
  int32_t max_tokens;   /* of one step */
  int32_t max_segments; /* of one step */
  float group_norm_epsilon;
  /* The widths between a down and an up matrix; 0 where the architecture has none. */
  int32_t mix_rank;   /* RWKV-6 */
  int32_t decay_rank; /* RWKV-6 and 7 */
  int32_t rate_rank;  /* RWKV-7, as are the rest */
  int32_t value_rank;
  int32_t gate_rank;
};

/* Tensors; those of a layer are told apart by its number, others have the layer 0. Each architecture has some
   of them: native/backend/cuda/tensors.h. */
enum WkvCudaVector {
  WKV_CUDA_LN0_WEIGHT, /* not of a layer, [channels] */
  WKV_CUDA_LN0_BIAS,
  WKV_CUDA_LN_OUT_WEIGHT,
  WKV_CUDA_LN_OUT_BIAS,
  WKV_CUDA_LN1_WEIGHT, /* of a layer, [channels] */
  WKV_CUDA_LN1_BIAS,
  WKV_CUDA_LN2_WEIGHT,
  WKV_CUDA_LN2_BIAS,
  WKV_CUDA_ATT_MIX_X, /* the mix of what RWKV-6 computes its mixes from */
  WKV_CUDA_ATT_MIX_W,
  WKV_CUDA_ATT_MIX_K,
  WKV_CUDA_ATT_MIX_V,
  WKV_CUDA_ATT_MIX_R,
  WKV_CUDA_ATT_MIX_A,
  WKV_CUDA_ATT_MIX_G,
  WKV_CUDA_FFN_MIX_K,
  WKV_CUDA_FFN_MIX_R,
  /* [heads][head_size], as are the rest. RWKV-4: -exp(time_decay); 5: 1 - exp(-exp(time_decay)); 6 and 7:
     what is added to the product of the decay's matrices. */
  WKV_CUDA_ATT_DECAY,
  WKV_CUDA_ATT_BONUS,
  WKV_CUDA_LN_X_WEIGHT,
  WKV_CUDA_LN_X_BIAS,
  WKV_CUDA_ATT_RATE,  /* RWKV-7: a0, */
  WKV_CUDA_ATT_FIRST, /* v0, not of layer 0, */
  WKV_CUDA_ATT_K_K,
  WKV_CUDA_ATT_K_A,
  WKV_CUDA_ATT_R_K,
  WKV_CUDA_VECTORS
};
enum WkvCudaMatrixName {
  WKV_CUDA_HEAD, /* not of a layer */
  WKV_CUDA_ATT_RECEPTANCE,
  WKV_CUDA_ATT_KEY,
  WKV_CUDA_ATT_VALUE,
  WKV_CUDA_ATT_GATE,
  WKV_CUDA_ATT_OUTPUT,
  WKV_CUDA_FFN_KEY,
  WKV_CUDA_FFN_RECEPTANCE,
  WKV_CUDA_FFN_VALUE,
  WKV_CUDA_MATRICES
};
/* LoRA matrices, in pairs: [rank][channels] and [heads * head_size or channels][rank]. */
enum WkvCudaLoraName {
  WKV_CUDA_MIX_W_DOWN, /* RWKV-6, as are all mixes */
  WKV_CUDA_MIX_K_DOWN,
  WKV_CUDA_MIX_V_DOWN,
  WKV_CUDA_MIX_R_DOWN,
  WKV_CUDA_MIX_G_DOWN,
  WKV_CUDA_MIX_W_UP,
  WKV_CUDA_MIX_K_UP,
  WKV_CUDA_MIX_V_UP,
  WKV_CUDA_MIX_R_UP,
  WKV_CUDA_MIX_G_UP,
  WKV_CUDA_DECAY_DOWN,
  WKV_CUDA_DECAY_UP,
  WKV_CUDA_RATE_DOWN, /* RWKV-7: a1 */
  WKV_CUDA_RATE_UP,
  WKV_CUDA_VALUE_DOWN, /* not of layer 0 */
  WKV_CUDA_VALUE_UP,
  WKV_CUDA_GATE_DOWN,
  WKV_CUDA_GATE_UP,
  WKV_CUDA_LORA_MATRICES
};
/* Of numbers that are not quantized. */
enum WkvCudaType { WKV_CUDA_F32 = 0, WKV_CUDA_F16 = 1, WKV_CUDA_BF16 = 2 };

struct WkvCudaMatrix {
  const void* panels;
  uint64_t bytes; /* those of the panels, perhaps up to 63 more */
  int32_t bits;   /* of a weight: 8, or 4 */
  int32_t rows;
  int32_t columns;
  int32_t group;             /* a multiple of 16, at most 65536, or 256 where bits is 4 */
  const float* input_scales; /* [columns], or null: all 1 */
};

/* Panels of native/kernels/gemm. */
struct WkvCudaLoraMatrix {
  const void* panels;
  uint64_t bytes; /* those of the panels, perhaps up to 63 more */
  int32_t type;   /* a WkvCudaType */
  int32_t rows;
  int32_t columns;
};

struct WkvCudaModel;
struct WkvCudaPage;

enum WkvCudaLogits { WKV_CUDA_LOGITS_NONE = 0, WKV_CUDA_LOGITS_LAST = 1, WKV_CUDA_LOGITS_ALL = 2 };

/* The token's logit becomes logit - penalty + bias, in double precision and then a float again. */
struct WkvCudaEdit {
  uint32_t token;
  float bias; /* -infinity: never drawn */
  double penalty;
};

#define WKV_CUDA_MAX_EDITS 4096 /* and forbidden tokens, of a draw */
#define WKV_CUDA_MAX_DRAWN_VOCABULARY 1048576

/* How the token after a segment's last is drawn, as native/engine/sampler.h has it: top_p, top_k, min_p, then
   the temperature. */
struct WkvCudaDraw {
  double temperature;              /* 0: the most probable token, of equals the lowest id */
  double top_p;                    /* 1: all */
  double min_p;                    /* 0: all */
  uint32_t top_k;                  /* 0: all */
  double random;                   /* in [0, 1) */
  const struct WkvCudaEdit* edits; /* in ascending order of tokens, each once */
  uint32_t edit_count;
  const uint32_t* forbidden; /* ascending, each once */
  uint32_t forbidden_count;
  int32_t token; /* is written: -1 if a logit is not finite, or no token is left */
};

/* Tokens of one session, evaluated one after another. */
struct WkvCudaSegment {
  struct WkvCudaPage* page; /* not packed; read and replaced */
  const uint32_t* tokens;
  int32_t count;
  int32_t logits;           /* of which tokens logits are wanted */
  struct WkvCudaDraw* draw; /* or null. Then no logits may be wanted: the last ones stay with the page */
};

/* Kernels alone, on numbers of the host. */

/* The recurrence of RWKV-5, as native/kernels/wkv5/wkv5.h has it. */
struct WkvCudaWkv5 {
  const float* r; /* [batch][tokens][heads][head_size], as are k, v and y */
  const float* k;
  const float* v;
  const float* forget; /* 1 - decay, [heads][head_size] */
  const float* u;      /* [heads][head_size] */
  float* state;        /* [batch][heads][key][value]; is replaced */
  float* y;            /* is written */
  int32_t batch;
  int32_t tokens;
  int32_t heads;
  int32_t head_size;
};
/* output = weights * activations, which are quantized, as native/kernels/gemm_int8/gemm_int8.h and
   gemm_int4/gemm_int4.h have it. */
struct WkvCudaGemm {
  struct WkvCudaMatrix weights;
  const float* activations; /* [tokens][columns] */
  float* output;            /* [tokens][rows]; is written */
  int32_t tokens;
};

struct WkvCudaApi {
  uint32_t version;

  int32_t (*count_devices)(int32_t* count, struct WkvCudaFailure* failure);
  int32_t (*describe_device)(int32_t device, struct WkvCudaDevice* description,
                             struct WkvCudaFailure* failure);

  /* `weight_bytes` are what will be put into the model: refused here if there is no room. */
  int32_t (*create_model)(int32_t device, const struct WkvCudaShape* shape, uint64_t weight_bytes,
                          struct WkvCudaModel** model, struct WkvCudaFailure* failure);
  /* Takes null. */
  void (*destroy_model)(struct WkvCudaModel* model);
  int32_t (*put_vector)(struct WkvCudaModel* model, int32_t vector, int32_t layer, const float* numbers,
                        uint64_t count, struct WkvCudaFailure* failure);
  int32_t (*put_matrix)(struct WkvCudaModel* model, int32_t matrix, int32_t layer,
                        const struct WkvCudaMatrix* weights, struct WkvCudaFailure* failure);
  int32_t (*put_lora_matrix)(struct WkvCudaModel* model, int32_t matrix, int32_t layer,
                             const struct WkvCudaLoraMatrix* weights, struct WkvCudaFailure* failure);
  /* [vocabulary][channels], of a WkvCudaType */
  int32_t (*put_embedding)(struct WkvCudaModel* model, int32_t type, const void* numbers, uint64_t bytes,
                           struct WkvCudaFailure* failure);

  /* A page is the state of a session, as the engine has it: layer by layer att_x, ffn_x [channels], and the
     recurrence: [head][key][value], of RWKV-7 [head][value][key], of RWKV-4 aa, bb and pp [channel]. A new
     one is all zeros, in RWKV-4 too: there it has to be written. */
  int32_t (*create_page)(struct WkvCudaModel* model, struct WkvCudaPage** page,
                         struct WkvCudaFailure* failure);
  void (*destroy_page)(struct WkvCudaPage* page); /* takes null */
  /* Another page with the same numbers, of the type WKV_CUDA_F32, which a new one has, or WKV_CUDA_F16. That
     is a packed state, in half the memory: each head's numbers and each other part are rounded, with a scale
     of their own, as pack() of native/engine/state.h does it; RWKV-4's pp stays exact. Packed pages take no
     more than half of what the weights leave of the GPU's memory: then the code is WKV_CUDA_MEMORY. */
  int32_t (*copy_page)(const struct WkvCudaPage* page, int32_t type, struct WkvCudaPage** copy,
                       struct WkvCudaFailure* failure);
  /* As floats, or of a packed page as pack() writes them. */
  int32_t (*read_page)(const struct WkvCudaPage* page, void* numbers, struct WkvCudaFailure* failure);
  /* Not of a packed page. */
  int32_t (*write_page)(struct WkvCudaPage* page, const float* numbers, struct WkvCudaFailure* failure);
  /* For how many more pages of floats there is memory. */
  int32_t (*pages_that_fit)(struct WkvCudaModel* model, uint64_t* pages, struct WkvCudaFailure* failure);

  /* One step. A segment's results have the same bits whatever other segments there are, and however a
     session's tokens are cut into segments. `logits` takes those that are wanted, [vocabulary] each, in the
     order of the segments and their tokens. Where the step fails, pages are undefined unless the code is
     WKV_CUDA_ARGUMENT. */
  int32_t (*step)(struct WkvCudaModel* model, const struct WkvCudaSegment* segments, int32_t count,
                  float* logits, struct WkvCudaFailure* failure);

  /* [vocabulary]: what the last draw of the page was from, or of that which it is a copy of. Undefined after
     a step that drew nothing. */
  int32_t (*read_logits)(const struct WkvCudaPage* page, float* logits, struct WkvCudaFailure* failure);

  /* Of no model; may be called from any thread. Where they fail, what they write is undefined. */
  int32_t (*wkv5)(int32_t device, const struct WkvCudaWkv5* arguments, struct WkvCudaFailure* failure);
  int32_t (*gemm)(int32_t device, const struct WkvCudaGemm* arguments, struct WkvCudaFailure* failure);
};

/* Null if the library is of another version. */
typedef const struct WkvCudaApi* (*WkvCudaEntry)(uint32_t version);
#define WKV_CUDA_ENTRY "wkv_cuda_api"

#ifdef __cplusplus
}
#endif

#endif
