#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/dot.h"
#include "core/errors.h"
#include "linear_model/sgd.h"

namespace manyfit {

double sgd_loss(SgdLoss loss, double epsilon, double y, double p) {
  switch (loss) {
    case SgdLoss::squared_error:
      return 0.5 * (p - y) * (p - y);
    case SgdLoss::huber: {
      const double r = std::abs(y - p);
      return r <= epsilon ? 0.5 * r * r : epsilon * (r - 0.5 * epsilon);
    }
    case SgdLoss::epsilon_insensitive:
      return std::max(0.0, std::abs(y - p) - epsilon);
    case SgdLoss::squared_epsilon_insensitive: {
      const double r = std::max(0.0, std::abs(y - p) - epsilon);
      return r * r;
    }
    case SgdLoss::hinge:
      return p * y <= 1 ? 1 - p * y : 0.0;
    case SgdLoss::squared_hinge: {
      const double z = 1 - p * y;
      return z > 0 ? z * z : 0.0;
    }
    case SgdLoss::perceptron:
      return p * y <= 0 ? -p * y : 0.0;
    case SgdLoss::log_loss:
      return std::log1p(std::exp(-std::abs(p))) + std::max(p, 0.0) - y * p;
    case SgdLoss::modified_huber: {
      const double z = p * y;
      return z >= 1 ? 0.0 : z >= -1 ? (1 - z) * (1 - z) : -4 * z;
    }
  }
  return 0;
}

double sgd_slope(SgdLoss loss, double epsilon, double y, double p) {
  switch (loss) {
    case SgdLoss::squared_error:
      return p - y;
    case SgdLoss::huber:
      return std::clamp(p - y, -epsilon, epsilon);
    case SgdLoss::epsilon_insensitive:
      return y - p > epsilon ? -1.0 : p - y > epsilon ? 1.0 : 0.0;
    case SgdLoss::squared_epsilon_insensitive: {
      const double z = y - p;
      return z > epsilon ? -2 * (z - epsilon) : z < -epsilon ? 2 * (-z - epsilon) : 0.0;
    }
    case SgdLoss::hinge:
      return p * y <= 1 ? -y : 0.0;
    case SgdLoss::squared_hinge: {
      const double z = 1 - p * y;
      return z > 0 ? -2 * y * z : 0.0;
    }
    case SgdLoss::perceptron:
      return p * y <= 0 ? -y : 0.0;
    case SgdLoss::log_loss: {
      const double tail = std::exp(-std::abs(p));
      return (p >= 0 ? 1.0 : tail) / (1 + tail) - y;
    }
    case SgdLoss::modified_huber: {
      const double z = p * y;
      return z >= 1 ? 0.0 : z >= -1 ? -2 * y * (1 - z) : -4 * y;
    }
  }
  return 0;
}

void sgd_shuffle(std::vector<int64_t>& order, uint32_t seed) {
  uint32_t state = seed == 0 ? 1 : seed;
  const auto draw = [&state] {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state & 0x7fffffffu;
  };
  const size_t n = order.size();
  for (size_t i = 0; i + 1 < n; ++i) {
    const size_t left = n - i;
    size_t next = 0;
    if (left <= 0x7fffffffu)
      next = draw() % static_cast<uint32_t>(left);
    else
      next = ((static_cast<uint64_t>(draw()) << 31) | draw()) % left;
    std::swap(order[i], order[i + next]);
  }
}

namespace {

constexpr double kLargestSlope = 1e12;  // beyond this slopes are clipped
constexpr double kLeastRate = 1e-6;     // at which the adaptive rate gives up
constexpr size_t kLockstep = 16;   // jobs that take a row together: their weights stay in cache
constexpr int64_t kSlices = 100;   // of a fit's epochs, to tell its progress
constexpr int64_t kRowsAhead = 4;  // rows asked of memory before their turn
constexpr int64_t kCheckEvery = 1 << 17;  // numbers of X between two looks at the context
constexpr int64_t kMostRows = 1 << 12;    // rows between two looks

// The scale below which it is multiplied into the weights.
template <class T>
constexpr double kLeastScale = std::is_same_v<T, float> ? 1e-6 : 1e-9;

struct Norms {
  double squares = 0, sizes = 0;
};

// w[j] += scale x[j]; then sum_j w[j]^2.
template <class T>
double add_and_square(const T* x, T scale, T* w, int64_t d) {
  using V = DotVector<T>;
  constexpr int64_t W = V::width;
  typename V::Vector s0 = {}, s1 = {};
  int64_t j = 0;
  for (; j + 2 * W <= d; j += 2 * W) {
    const auto a = V::load(w + j) + scale * V::load(x + j);
    const auto b = V::load(w + j + W) + scale * V::load(x + j + W);
    V::store(w + j, a);
    V::store(w + j + W, b);
    s0 += a * a;
    s1 += b * b;
  }
  double total = V::sum(s0 + s1);
  for (; j < d; ++j) {
    w[j] += scale * x[j];
    total += static_cast<double>(w[j]) * static_cast<double>(w[j]);
  }
  return total;
}

// t^power; the powers that are the defaults as roots, which are many times quicker.
double power(double t, double power) {
  if (power == 0.25) return std::sqrt(std::sqrt(t));
  if (power == 0.5) return std::sqrt(t);
  return std::pow(t, power);
}

template <class T>
double sum_of_sizes(const std::vector<T>& w) {
  double total = 0;
  for (const T value : w) total += std::abs(static_cast<double>(value));
  return total;
}

// One job on its way: its weights are scale * job.coef.
template <class T>
class Walker {
 public:
  Walker(SgdJob<T>& job, int64_t d, int64_t learning_rows)
      : job_(job), d_(d), learning_rows_(static_cast<double>(learning_rows)) {
    passive_ = job.rate == SgdRate::pa1 || job.rate == SgdRate::pa2;
    eta_ = job.eta0;
    if (job.rate == SgdRate::optimal) {
      const double typical = std::sqrt(1 / std::sqrt(job.alpha));
      const double first = typical / std::max(1.0, sgd_slope(job.loss, job.epsilon, 1.0, -typical));
      optimal_start_ = 1 / (first * job.alpha);
    }
    if (job.l1) penalised_.assign(static_cast<size_t>(d), T(0));
    watches_norms_ = !job.early_stopping && !passive_ && (job.l1 || job.l2);
    norms_.squares = dot(job.coef.data(), job.coef.data(), d);
    norms_.sizes = sum_of_sizes(job.coef);
    t_ = job.t;
  }

  bool running() const { return running_; }
  bool early_stopping() const { return job_.early_stopping; }
  int64_t positive() const { return job_.positive; }
  bool passive() const { return passive_; }

  void begin_epoch() { objective_ = 0; }

  double output(const T* x) const { return dot(x, job_.coef.data(), d_) * scale_ + job_.intercept; }
  double label(int64_t code) const {
    if (code == job_.positive) return 1;
    return job_.loss == SgdLoss::log_loss ? 0 : -1;
  }

  // Takes one row; `squares` = |x|^2 where a job is passive.
  void take(const T* x, double y, double weight, double squares) {
    const double p = output(x);
    if (job_.rate == SgdRate::optimal)
      eta_ = 1 / (job_.alpha * (optimal_start_ + t_ - 1));
    else if (job_.rate == SgdRate::invscaling)
      eta_ = job_.eta0 / power(t_, job_.power_t);
    if (!job_.early_stopping) objective_ += objective(y, p);

    double update = 0;
    if (passive_) {
      if (job_.rate == SgdRate::pa1 && squares == 0) return;
      const double loss = sgd_loss(job_.loss, job_.epsilon, y, p);
      update = job_.rate == SgdRate::pa1 ? std::min(job_.eta0, loss / squares)
                                         : loss / (squares + 0.5 / job_.eta0);
      if (job_.loss == SgdLoss::hinge)
        update *= y;
      else if (y - p < 0)
        update = -update;
    } else {
      const double slope = sgd_slope(job_.loss, job_.epsilon, y, p);
      update = -eta_ * std::clamp(slope, -kLargestSlope, kLargestSlope);
    }
    if (job_.positive >= 0) update *= y > 0 ? job_.positive_weight : job_.negative_weight;
    update *= weight;
    if (job_.l2) decay(std::max(0.0, 1 - (1 - job_.l1_ratio) * eta_ * job_.alpha));
    if (update != 0) {
      add(x, update);
      if (job_.fit_intercept) job_.intercept += update;
    }
    if (job_.average > 0 && static_cast<double>(job_.average) <= t_) average(x, update);
    if (job_.l1) {
      cumulative_ += job_.l1_ratio * eta_ * job_.alpha;
      truncate();
    }
    t_ += 1;
  }

  // After an epoch; `score` on the rows held out, for early stopping.
  void end_epoch(double score) {
    ++job_.epochs;
    bool finite = std::isfinite(job_.intercept);
    for (int64_t j = 0; finite && j < d_; ++j)
      finite = std::isfinite(job_.coef[static_cast<size_t>(j)]);
    if (!finite) {
      job_.overflowed = true;
      running_ = false;
      return;
    }
    const double value = job_.early_stopping ? -score : objective_ / learning_rows_;
    const bool judged = job_.tol > -std::numeric_limits<double>::infinity();
    idle_ = judged && value > best_ - job_.tol ? idle_ + 1 : 0;
    best_ = std::min(best_, value);
    if (idle_ >= job_.patience) {
      if (job_.rate == SgdRate::adaptive && eta_ > kLeastRate) {
        eta_ /= 5;
        idle_ = 0;
      } else {
        running_ = false;
      }
    }
    if (job_.epochs >= job_.max_iter) running_ = false;
    if (!running_) unscale();
  }

 private:
  double objective(double y, double p) const {
    const double loss = sgd_loss(job_.loss, job_.epsilon, y, p);
    if (!watches_norms_) return loss;
    return loss +
           job_.alpha * ((1 - job_.l1_ratio) * 0.5 * norms_.squares + job_.l1_ratio * norms_.sizes);
  }

  void add(const T* x, double update) {
    const T step = static_cast<T>(update / scale_);
    if (!watches_norms_) {
      add_scaled(x, step, job_.coef.data(), d_);
      return;
    }
    norms_.squares = add_and_square(x, step, job_.coef.data(), d_) * scale_ * scale_;
    if (job_.l1) norms_.sizes = sum_of_sizes(job_.coef) * scale_;
  }

  void decay(double factor) {
    scale_ *= factor;
    norms_.squares *= factor * factor;
    norms_.sizes *= factor;
    if (scale_ < kLeastScale<T>) unscale();
  }

  void unscale() {
    if (job_.average > 0) {
      add_scaled(job_.coef.data(), static_cast<T>(average_a_), job_.average_coef.data(), d_);
      for (T& value : job_.average_coef) value = static_cast<T>(value / average_b_);
      average_a_ = 0;
      average_b_ = 1;
    }
    for (T& value : job_.coef) value = static_cast<T>(value * scale_);
    scale_ = 1;
  }

  // The average is (average_coef + average_a coef) / average_b: one row changes it in O(d) without
  // a pass over the weights that did not move.
  void average(const T* x, double update) {
    const double count = t_ - static_cast<double>(job_.average) + 1, share = 1 / count;
    if (update != 0 && average_a_ != 0)
      add_scaled(x, static_cast<T>(-average_a_ * update / scale_), job_.average_coef.data(), d_);
    if (count > 1) average_b_ /= 1 - share;
    average_a_ += share * average_b_ * scale_;
    job_.average_intercept += (job_.intercept - job_.average_intercept) * share;
  }

  // Moves every weight towards zero by what the l1 penalty owes it, and not beyond.
  void truncate() {
    const double inverse = 1 / scale_;
    for (int64_t j = 0; j < d_; ++j) {
      T& weight = job_.coef[static_cast<size_t>(j)];
      T& paid = penalised_[static_cast<size_t>(j)];
      const double before = weight, already = paid;
      const double down = std::max(0.0, before - (cumulative_ + already) * inverse);
      const double up = std::min(0.0, before + (cumulative_ - already) * inverse);
      const double after = before > 0 ? down : before < 0 ? up : before;
      weight = static_cast<T>(after);
      paid = static_cast<T>(already + scale_ * (static_cast<double>(weight) - before));
    }
  }

  SgdJob<T>& job_;
  int64_t d_;
  double learning_rows_;
  bool passive_ = false, watches_norms_ = false, running_ = true;
  double eta_ = 0, optimal_start_ = 0, t_ = 1, scale_ = 1;
  double average_a_ = 0, average_b_ = 1;
  double cumulative_ = 0;     // l1 penalty owed by every weight so far
  std::vector<T> penalised_;  // (d,) what each has paid
  Norms norms_;
  double objective_ = 0, best_ = std::numeric_limits<double>::infinity();
  int64_t idle_ = 0;
};

// Some jobs of one stream.
template <class T>
class Lockstep {
 public:
  Lockstep(MatrixView<const T> X, VectorView<const T> y, VectorView<const int64_t> codes,
           VectorView<const T> w, const SgdStream& stream, std::vector<SgdJob<T>*> jobs,
           const Context& context)
      : X_(X), y_(y), codes_(codes), w_(w), stream_(stream), context_(context) {
    const int64_t n = stream.rows.empty() ? X.rows : stream.rows.size;
    order_.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) order_[static_cast<size_t>(i)] = i;
    int64_t learning = n;
    for (int64_t i = 0; i < n; ++i) learning -= held_out(i);
    for (SgdJob<T>* job : jobs) walkers_.emplace_back(*job, X.cols, learning);
    const int64_t work = std::max<int64_t>(1, X.cols) * static_cast<int64_t>(jobs.size());
    check_every_ = std::clamp<int64_t>(kCheckEvery / work, 1, kMostRows);
  }

  // Epochs until no job runs any more, at most so many.
  void run(int64_t epochs) {
    for (int64_t e = 0; e < epochs; ++e) {
      running_.clear();
      passive_ = false;
      for (Walker<T>& walker : walkers_)
        if (walker.running()) {
          running_.push_back(&walker);
          passive_ |= walker.passive();
        }
      if (running_.empty()) return;
      epoch();
    }
  }

 private:
  bool held_out(int64_t place) const {
    return !stream_.held_out.empty() && stream_.held_out[place] != 0;
  }
  int64_t row(int64_t place) const { return stream_.rows.empty() ? place : stream_.rows[place]; }
  double weight(int64_t row) const { return w_.empty() ? 1.0 : static_cast<double>(w_[row]); }
  double label(const Walker<T>& walker, int64_t row) const {
    return codes_.empty() ? static_cast<double>(y_[row]) : walker.label(codes_[row]);
  }

  void epoch() {
    if (stream_.shuffle) sgd_shuffle(order_, stream_.seed);
    for (Walker<T>* walker : running_) walker->begin_epoch();
    const auto n = static_cast<int64_t>(order_.size());
    const int64_t bytes = std::min<int64_t>(X_.cols * static_cast<int64_t>(sizeof(T)), 2048);
    for (int64_t i = 0; i < n; ++i) {
      if (i % check_every_ == 0) context_.check();
      if (stream_.shuffle && i + kRowsAhead < n) {
        const char* next =
            reinterpret_cast<const char*>(X_.row(row(order_[static_cast<size_t>(i + kRowsAhead)])));
        for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(next + at, 0, 3);
      }
      const int64_t place = order_[static_cast<size_t>(i)];
      if (held_out(place)) continue;
      const int64_t at = row(place);
      const T* x = X_.row(at);
      const double squares = passive_ ? dot(x, x, X_.cols) : 0, share = weight(at);
      for (Walker<T>* walker : running_) walker->take(x, label(*walker, at), share, squares);
    }
    for (Walker<T>* walker : running_)
      walker->end_epoch(walker->early_stopping() ? score(*walker) : 0);
  }

  // R^2 or the share of right labels on the rows held out.
  double score(const Walker<T>& walker) const {
    double total = 0, mean = 0, right = 0, residual = 0, spread = 0;
    const auto n = static_cast<int64_t>(order_.size());
    for (int64_t place = 0; place < n; ++place) {
      if (!held_out(place)) continue;
      const int64_t at = row(place);
      const double share = weight(at), y = label(walker, at);
      total += share;
      mean += share * y;
      const double p = walker.output(X_.row(at));
      if (walker.positive() >= 0)
        right += (p > 0) == (y > 0) ? share : 0;
      else
        residual += share * (y - p) * (y - p);
    }
    if (walker.positive() >= 0) return right / total;
    mean /= total;
    for (int64_t place = 0; place < n; ++place) {
      if (!held_out(place)) continue;
      const double away = label(walker, row(place)) - mean;
      spread += weight(row(place)) * away * away;
    }
    return spread > 0 ? 1 - residual / spread : residual == 0 ? 1.0 : 0.0;
  }

  MatrixView<const T> X_;
  VectorView<const T> y_;
  VectorView<const int64_t> codes_;
  VectorView<const T> w_;
  const SgdStream& stream_;
  const Context& context_;
  std::vector<int64_t> order_;
  std::vector<Walker<T>> walkers_;
  std::vector<Walker<T>*> running_;
  bool passive_ = false;
  int64_t check_every_ = 1;
};

}  // namespace

template <class T>
void sgd_cpu(MatrixView<const T> X, VectorView<const T> y, VectorView<const int64_t> codes,
             VectorView<const T> w, const std::vector<SgdStream>& streams,
             std::vector<SgdJob<T>>& jobs, const Context& context) {
  if (X.col_stride != 1 && X.cols > 1) throw InvalidInput("X must have rows that lie together");
  // Which jobs go together changes no result: as many tasks as there are threads, if there are
  // jobs.
  const size_t threads = static_cast<size_t>(std::max(1, context.threads()));
  const size_t together = std::clamp<size_t>((jobs.size() + threads - 1) / threads, 1, kLockstep);
  std::vector<std::vector<SgdJob<T>*>> of_stream(streams.size());
  for (SgdJob<T>& job : jobs) of_stream[job.stream].push_back(&job);
  struct Part {
    size_t stream;
    std::vector<SgdJob<T>*> jobs;
  };
  std::vector<Part> parts;
  for (size_t s = 0; s < streams.size(); ++s)
    for (size_t begin = 0; begin < of_stream[s].size(); begin += together) {
      const auto first = of_stream[s].begin() + static_cast<std::ptrdiff_t>(begin);
      const size_t count = std::min(together, of_stream[s].size() - begin);
      parts.push_back({s, {first, first + static_cast<std::ptrdiff_t>(count)}});
    }
  constexpr const char* stage = "stochastic gradient descent";
  if (parts.size() == 1) {  // in slices of its epochs: progress shows
    Lockstep<T> only(X, y, codes, w, streams[parts[0].stream], parts[0].jobs, context);
    int64_t longest = 0;
    for (const SgdJob<T>& job : jobs) longest = std::max(longest, job.max_iter);
    const int64_t slices = std::clamp<int64_t>(longest, 1, kSlices);
    context.serial_for(stage, slices, [&](int64_t) { only.run((longest + slices - 1) / slices); });
    return;
  }
  context.parallel_for(stage, static_cast<int64_t>(parts.size()), [&](int64_t i) {
    const Part& part = parts[static_cast<size_t>(i)];
    Lockstep<T>(X, y, codes, w, streams[part.stream], part.jobs, context)
        .run(std::numeric_limits<int64_t>::max());
  });
}

#define MANYFIT_INSTANTIATE(T)                                                               \
  template void sgd_cpu(MatrixView<const T>, VectorView<const T>, VectorView<const int64_t>, \
                        VectorView<const T>, const std::vector<SgdStream>&,                  \
                        std::vector<SgdJob<T>>&, const Context&);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
