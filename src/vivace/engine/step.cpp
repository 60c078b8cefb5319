// One step of the decoder over a ragged batch: the arithmetic of torch_runner.py in one call, on one thread.
//
// Everything is one product, rows times panels of 32 columns (products.h). Weights are packed into panels when they are
// loaded, in one of three formats; a block of keys in the cache is such a panel, d by 32 positions, so attention scores are
// the same product; and a block of values, 32 rows of d, is d / 32 panels with another stride. Attention goes over spans
// of blocks with a running maximum and sum (Milakov & Gimelshein, arXiv 1805.02867), so its buffers do not grow with the
// context. All else is computed in fp32.

#include <atomic>
#include <chrono>
#include <thread>

#include "products.h"

namespace {

constexpr int QUERIES = 16;  // tokens of one piece that attend together
constexpr int SPAN = 512;  // positions they attend to at a time
constexpr int SPINS = 4000;  // before a thread that has to wait lets go of its processor
constexpr float NEVER = -1e30f;

// Cephes' expf: reduce by powers of two, then a polynomial; exactly 0 below -87.
inline Vec exponential(Vec x) {
    const IntVec tiny = x < -87.0f;
    x = x < 88.0f ? x : Vec{} + 88.0f;
    x = tiny ? Vec{} : x;
    const Vec n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // to the nearest integer
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const IntVec power = (__builtin_convertvector(n, IntVec) + 127) << 23;
    Vec scale;
    std::memcpy(&scale, &power, sizeof scale);
    return tiny ? Vec{} : p * scale;
}

void rms_norm(const float* x, int rows, int size, const float* weight, float eps, float* out) {
    for (int row = 0; row < rows; ++row, x += size, out += size) {
        Vec squares{};
        for (int i = 0; i < size; i += LANES) squares += load(x + i) * load(x + i);
        float total = 0;
        for (int i = 0; i < LANES; ++i) total += squares[i];
        const float scale = 1.0f / std::sqrt(total / size + eps);
        for (int i = 0; i < size; i += LANES) store(out + i, load(x + i) * scale * load(weight + i));
    }
}

// silu(gate) * up * factor, for rows of [gate | up]
void swiglu(const float* gate_up, int rows, int width, const float* factor, float* out) {
    for (int row = 0; row < rows; ++row)
        for (int i = 0; i < width; i += LANES) {
            const float* p = gate_up + static_cast<long>(row) * 2 * width + i;
            const Vec gate = load(p), up = load(p + width);
            store(out + static_cast<long>(row) * width + i,
                  gate / (1.0f + exponential(-gate)) * up * (factor ? factor[row] : 1.0f));
        }
}

void add(const float* x, long count, float* out) {
    for (long i = 0; i < count; i += LANES) store(out + i, load(out + i) + load(x + i));
}

}  // namespace

extern "C" {

struct Layer {
    int32_t window;  // 0: sees everything
    int32_t rotates, sparse;
    Weights qkv, out, gate_up, down, shared_gate_up, shared_down;
    Weights router;  // always FP32
    const float *input_norm, *q_norm, *k_norm, *post_norm, *qkv_bias, *bias;  // null where a family has none
    float *keys, *values;  // (blocks, K, 32, d); keys as (blocks, K, d, 32)
};

struct Model {
    int32_t layers, hidden, heads, kv_heads, head_dim, dense_width, expert_width;
    int32_t shared_width, experts, top_k, normalise, softmax, vocab, context_blocks;
    Format format;
    float eps, route_scale;
    const void* embed;  // rows of float, or of bf16 unless the format is FP32
    Weights head;
    const float *norm, *cos, *sin;  // cos, sin: (positions, d/2)
    const Layer* layer;
    const int32_t* tables[2];  // (slots, context_blocks) block numbers, for layers that see everything and for windows
};

// Tokens at positions start, start + 1, ... of a slot; its tokens are rows first .. first + count of the step.
// Those before `start` that other threads compute in this step are in shares below number `after`.
struct Piece {
    int32_t slot, start, count, first, after;
};

}  // extern "C"

namespace {

struct Scratch {
    std::vector<float> x, normed, qkv, attended, wide, narrow, update, queries, scores, mixed, routes, gates, rows;
    std::vector<float> peaks, sums;
    std::vector<int32_t> chosen, order, offset;
    Rounded rounded;
};

float* room(std::vector<float>& buffer, size_t count) {
    if (buffer.size() < count) buffer.resize(count);
    return buffer.data();
}

const int32_t* blocks_of(const Model& model, const Layer& layer, const Piece& piece) {
    return model.tables[layer.window ? 1 : 0] + static_cast<long>(piece.slot) * model.context_blocks;
}

// Bias, norm and rotate queries and keys in place, whatever of it the family has; put keys and values in the cache.
void place(const Model& model, const Layer& layer, const Piece& piece, float* qkv) {
    const int d = model.head_dim, half = d / 2, heads = model.heads, kv_heads = model.kv_heads;
    const long stride = static_cast<long>(heads + 2 * kv_heads) * d;
    const int32_t* blocks = blocks_of(model, layer, piece);
    for (int t = 0; t < piece.count; ++t) {
        float* row = qkv + (piece.first + t) * stride;
        const long position = piece.start + t;
        if (layer.qkv_bias) add(layer.qkv_bias, stride, row);
        for (int j = 0; j < heads + kv_heads; ++j) {
            float* head = row + j * d;
            if (layer.q_norm) rms_norm(head, 1, d, j < heads ? layer.q_norm : layer.k_norm, model.eps, head);
            if (!layer.rotates) continue;
            const float *cos = model.cos + position * half, *sin = model.sin + position * half;
            for (int i = 0; i < half; ++i) {
                const float a = head[i], b = head[i + half];
                head[i] = a * cos[i] - b * sin[i];
                head[i + half] = b * cos[i] + a * sin[i];
            }
        }
        for (int j = 0; j < kv_heads; ++j) {
            const long base = (static_cast<long>(blocks[position / PANEL]) * kv_heads + j) * PANEL * d;
            float* key = layer.keys + base + position % PANEL;
            for (int i = 0; i < d; ++i) key[i * PANEL] = row[(heads + j) * d + i];
            const float* value = row + (heads + kv_heads + j) * d;
            std::memcpy(layer.values + base + position % PANEL * d, value, d * sizeof(float));
        }
    }
}

// Weights of one row's scores in place, given its peak and sum so far; returns what the row's mix so far shrinks by.
float soften(float* row, int width, float& peak, float& sum) {
    Vec top = load(row);
    for (int i = LANES; i < width; i += LANES) top = load(row + i) > top ? load(row + i) : top;
    float highest = peak;
    for (int i = 0; i < LANES; ++i) highest = std::max(highest, top[i]);
    Vec mass{};
    for (int i = 0; i < width; i += LANES) {
        const Vec e = exponential(load(row + i) - highest);
        store(row + i, e);
        mass += e;
    }
    const float shrink = std::exp(peak - highest);
    sum *= shrink;
    for (int i = 0; i < LANES; ++i) sum += mass[i];
    peak = highest;
    return shrink;
}

// Tokens t .. t + count of a piece attend, one key-value head at a time; rows are (token, head of the group).
void attend(const Model& model, const Layer& layer, const Piece& piece, int t, int count, const float* qkv,
            Scratch& s) {
    const int d = model.head_dim, heads = model.heads, kv_heads = model.kv_heads, group = heads / kv_heads;
    const long stride = static_cast<long>(heads + 2 * kv_heads) * d;
    const int32_t* blocks = blocks_of(model, layer, piece);
    const int from = piece.start + t, end = from + count, rows = count * group;
    const int low = layer.window ? std::max(0, from - layer.window + 1) / PANEL * PANEL : 0;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    float* queries = room(s.queries, static_cast<size_t>(rows) * d);
    float* scores = room(s.scores, static_cast<size_t>(rows) * SPAN);
    float* mixed = room(s.mixed, static_cast<size_t>(rows) * d);
    for (int j = 0; j < kv_heads; ++j) {
        for (int r = 0; r < rows; ++r) {
            const float* q = qkv + (piece.first + t + r / group) * stride + (j * group + r % group) * d;
            for (int i = 0; i < d; i += LANES) store(queries + r * d + i, load(q + i) * scale);
        }
        std::fill(mixed, mixed + static_cast<long>(rows) * d, 0.0f);
        s.peaks.assign(rows, NEVER);
        s.sums.assign(rows, 0.0f);
        for (int at = low; at < end; at += SPAN) {
            const int stop = std::min(at + SPAN, end), width = (stop - at + PANEL - 1) / PANEL * PANEL;
            const auto base = [&](int position) {
                return (static_cast<long>(blocks[position / PANEL]) * kv_heads + j) * PANEL * d;
            };
            for (int p = at; p < stop; p += PANEL)
                matmul(queries, d, rows, layer.keys + base(p), PANEL, 0, d, PANEL, scores + (p - at), width);
            for (int r = 0; r < rows; ++r) {
                float* row = scores + static_cast<long>(r) * width;
                const int last = from + r / group, first = layer.window ? std::max(0, last - layer.window + 1) : 0;
                std::fill(row, row + std::min(std::max(0, first - at), width), NEVER);
                std::fill(row + std::min(std::max(0, last + 1 - at), width), row + width, NEVER);
                const float shrink = soften(row, width, s.peaks[r], s.sums[r]);
                if (shrink != 1.0f)
                    for (int i = 0; i < d; i += LANES) store(mixed + r * d + i, load(mixed + r * d + i) * shrink);
            }
            for (int p = at; p < stop; p += PANEL)
                matmul<float, true>(scores + (p - at), width, rows, layer.values + base(p), d, PANEL,
                                    std::min(PANEL, stop - p), d, mixed, d);
        }
        for (int r = 0; r < rows; ++r) {
            const long head = static_cast<long>(piece.first + t + r / group) * heads + j * group + r % group;
            for (int i = 0; i < d; i += LANES) store(s.attended.data() + head * d + i, load(mixed + r * d + i) / s.sums[r]);
        }
    }
}

// The experts of each token in s.chosen, their gates in s.gates.
void route(const Model& model, const Layer& layer, int tokens, const float* x, Scratch& s) {
    const int count = model.experts, k = model.top_k;
    float* routes = room(s.routes, static_cast<size_t>(tokens) * count);
    float* gates = room(s.gates, static_cast<size_t>(tokens) * k);
    s.chosen.resize(static_cast<size_t>(tokens) * k);
    linear(FP32, x, tokens, layer.router, 0, model.hidden, count, routes, s.rounded);
    for (int n = 0; n < tokens; ++n) {
        float *score = routes + static_cast<long>(n) * count, *gate = gates + static_cast<long>(n) * k, total = 0;
        int32_t* choice = s.chosen.data() + static_cast<long>(n) * k;
        if (model.softmax) {
            const float peak = *std::max_element(score, score + count);
            float mass = 0;
            for (int e = 0; e < count; ++e) mass += score[e] = std::exp(score[e] - peak);
            for (int e = 0; e < count; ++e) score[e] /= mass;
        } else {
            for (int e = 0; e < count; ++e) score[e] = 1.0f / (1.0f + std::exp(-score[e]));
        }
        const auto rank = [&](int e) { return layer.bias ? score[e] + layer.bias[e] : score[e]; };
        for (int i = 0; i < k; ++i) {
            int best = -1;
            for (int e = 0; e < count; ++e)
                if ((best < 0 || rank(e) > rank(best)) && std::find(choice, choice + i, e) == choice + i) best = e;
            choice[i] = best;
            gate[i] = score[best];
            total += score[best];
        }
        for (int i = 0; i < k; ++i) gate[i] *= model.route_scale / (model.normalise ? total + 1e-20f : 1.0f);
    }
}

// out (rows, hidden) = down @ swiglu(gate_up @ x), each row times its factor
void feed_forward(const Model& model, const float* x, int rows, const Weights& gate_up, const Weights& down,
                  long number, int width, const float* factor, float* out, Scratch& s) {
    float* wide = room(s.wide, static_cast<size_t>(rows) * 2 * width);
    float* narrow = room(s.narrow, static_cast<size_t>(rows) * width);
    linear(model.format, x, rows, gate_up, number, model.hidden, 2 * width, wide, s.rounded);
    swiglu(wide, rows, width, factor, narrow);
    linear(model.format, narrow, rows, down, number, width, model.hidden, out, s.rounded);
}

// Choose experts, then one expert after the other on its own tokens; out (N, hidden) is added to.
void experts(const Model& model, const Layer& layer, int tokens, const float* x, float* out, Scratch& s) {
    const int hidden = model.hidden, count = model.experts, k = model.top_k;
    route(model, layer, tokens, x, s);
    s.order.resize(static_cast<size_t>(tokens) * k);
    s.offset.assign(count + 1, 0);
    for (int i = 0; i < tokens * k; ++i) ++s.offset[s.chosen[i] + 1];
    for (int e = 0; e < count; ++e) s.offset[e + 1] += s.offset[e];
    std::vector<int32_t> at(s.offset.begin(), s.offset.end() - 1);
    for (int i = 0; i < tokens * k; ++i) s.order[at[s.chosen[i]]++] = i;  // choices, grouped by expert
    for (int e = 0; e < count; ++e) {
        const int begin = s.offset[e], rows = s.offset[e + 1] - begin;
        if (!rows) continue;
        float* gathered = room(s.rows, static_cast<size_t>(rows) * (hidden + 1));
        float* factor = gathered + static_cast<size_t>(rows) * hidden;
        for (int r = 0; r < rows; ++r) {
            const long choice = s.order[begin + r];
            std::memcpy(gathered + static_cast<long>(r) * hidden, x + choice / k * hidden, hidden * sizeof(float));
            factor[r] = s.gates[choice];
        }
        feed_forward(model, gathered, rows, layer.gate_up, layer.down, e, model.expert_width, factor, gathered, s);
        for (int r = 0; r < rows; ++r)
            add(gathered + static_cast<long>(r) * hidden, hidden, out + s.order[begin + r] / k * static_cast<long>(hidden));
    }
}

void look_up(const Model& model, int64_t id, float* out) {
    if (model.format == FP32) {
        std::memcpy(out, static_cast<const float*>(model.embed) + id * model.hidden, model.hidden * sizeof(float));
    } else {
        const uint16_t* row = static_cast<const uint16_t*>(model.embed) + id * model.hidden;
        for (int i = 0; i < model.hidden; i += LANES) store(out + i, load(row + i));
    }
}

}  // namespace

namespace {

// Spinning costs least when nobody else wants the processor; when somebody does, sleeping does.
void wait_for(const std::atomic<int32_t>& placed, int32_t layers) {
    for (int spin = 0; placed.load(std::memory_order_acquire) < layers; ++spin)
        if (spin > SPINS) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

}  // namespace

// ids: the tokens of all pieces, back to back. logits: one row of `vocab` for each row number in `wanted`.
// A long piece may be shared by threads, each with a later part: `placed[i]` says how many layers' keys and values share
// number i has in the cache, and `share` is this call's own number. Nobody waits for a later share.
extern "C" void vivace_step(const Model* m, int32_t tokens, const int64_t* ids, int32_t count, const Piece* pieces,
                            int32_t wanted_count, const int32_t* wanted, float* logits, std::atomic<int32_t>* placed,
                            int32_t share) {
    const Model& model = *m;
    static thread_local Scratch s;
    const int hidden = model.hidden, inner = model.heads * model.head_dim;
    const int qkv_width = (model.heads + 2 * model.kv_heads) * model.head_dim;
    const size_t n = tokens;
    float *x = room(s.x, n * hidden), *normed = room(s.normed, n * hidden), *qkv = room(s.qkv, n * qkv_width);
    float *attended = room(s.attended, n * inner), *update = room(s.update, n * hidden);
    for (int i = 0; i < tokens; ++i) look_up(model, ids[i], x + static_cast<long>(i) * hidden);
    for (const Layer* layer = model.layer; layer != model.layer + model.layers; ++layer) {
        rms_norm(x, tokens, hidden, layer->input_norm, model.eps, normed);
        linear(model.format, normed, tokens, layer->qkv, 0, hidden, qkv_width, qkv, s.rounded);
        for (const Piece* piece = pieces; piece != pieces + count; ++piece) place(model, *layer, *piece, qkv);
        const int32_t done = static_cast<int32_t>(layer - model.layer) + 1;
        placed[share].store(done, std::memory_order_release);
        for (const Piece* piece = pieces; piece != pieces + count; ++piece) {
            for (int32_t other = 0; other < piece->after; ++other) wait_for(placed[other], done);
            for (int t = 0; t < piece->count; t += QUERIES)
                attend(model, *layer, *piece, t, std::min(QUERIES, piece->count - t), qkv, s);
        }
        linear(model.format, attended, tokens, layer->out, 0, inner, hidden, update, s.rounded);
        add(update, static_cast<long>(n) * hidden, x);
        rms_norm(x, tokens, hidden, layer->post_norm, model.eps, normed);
        if (layer->sparse) experts(model, *layer, tokens, normed, x, s);
        const Weights& gate_up = layer->sparse ? layer->shared_gate_up : layer->gate_up;
        if (!gate_up.data) continue;
        const Weights& down = layer->sparse ? layer->shared_down : layer->down;
        const int width = layer->sparse ? model.shared_width : model.dense_width;
        feed_forward(model, normed, tokens, gate_up, down, 0, width, nullptr, update, s);
        add(update, static_cast<long>(n) * hidden, x);
    }
    for (long i = 0; i < wanted_count; ++i)
        rms_norm(x + static_cast<long>(wanted[i]) * hidden, 1, hidden, model.norm, model.eps, normed + i * hidden);
    linear(model.format, normed, wanted_count, model.head, 0, hidden, model.vocab, logits, s.rounded);
}
