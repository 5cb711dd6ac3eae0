// Prediction and heatmap of a picture with ONNX Runtime's C interface; nothing of onnxlrp is needed.
//
//   c++ -std=c++17 explain.cpp -I ORT/include -L ORT/lib -lonnxruntime -o explain
//   ./explain model.lrp.onnx picture.ppm overlay.ppm
//
// The graph has been compiled with pictures inside: input `picture` (uint8 [1, H, W, 3]), outputs
// the prediction, `relevance/<input>` and `overlay/<input>` (uint8 [1, h, w, 3]).

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

static const OrtApi* ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);

static void check(OrtStatus* status) {
  if (status == nullptr) return;
  std::cerr << "error: " << ort->GetErrorMessage(status) << "\n";
  std::exit(1);
}

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;
};

static Picture read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t most = 0;
  Picture picture;
  file >> magic >> picture.width >> picture.height >> most;
  file.get();
  const bool fits = picture.width > 0 && picture.height > 0 && picture.width <= 16384 &&
                    picture.height <= 16384;
  if (magic != "P6" || most != 255 || !fits) {
    std::cerr << "error: '" << path << "' is no binary ppm of up to 16384 pixels a side\n";
    std::exit(1);
  }
  picture.pixels.resize(picture.width * picture.height * 3);
  file.read(reinterpret_cast<char*>(picture.pixels.data()), picture.pixels.size());
  if (!file) {
    std::cerr << "error: '" << path << "' is too short\n";
    std::exit(1);
  }
  return picture;
}

static std::vector<int64_t> shape_of(const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  size_t rank = 0;
  check(ort->GetTensorTypeAndShape(value, &info));
  check(ort->GetDimensionsCount(info, &rank));
  std::vector<int64_t> shape(rank);
  check(ort->GetDimensions(info, shape.data(), rank));
  ort->ReleaseTensorTypeAndShapeInfo(info);
  return shape;
}

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: explain MODEL.lrp.onnx PICTURE.ppm OVERLAY.ppm\n";
    return 2;
  }
  OrtEnv* env = nullptr;
  OrtSessionOptions* options = nullptr;
  OrtSession* session = nullptr;
  OrtAllocator* allocator = nullptr;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "explain", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->CreateSession(env, words[1], options, &session));
  check(ort->GetAllocatorWithDefaultOptions(&allocator));

  size_t outputs = 0;
  check(ort->SessionGetOutputCount(session, &outputs));
  std::vector<const char*> names;
  size_t overlay = outputs;
  for (size_t i = 0; i < outputs; ++i) {
    char* name = nullptr;
    check(ort->SessionGetOutputName(session, i, allocator, &name));
    if (std::string(name).rfind("overlay/", 0) == 0) overlay = i;
    names.push_back(name);
  }
  if (overlay == outputs) {
    std::cerr << "error: the graph draws no overlay: compile it with pictures inside\n";
    return 1;
  }

  Picture picture = read_ppm(words[2]);
  const int64_t shape[] = {1, picture.height, picture.width, 3};
  OrtMemoryInfo* memory = nullptr;
  OrtValue* input = nullptr;
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  check(ort->CreateTensorWithDataAsOrtValue(memory, picture.pixels.data(), picture.pixels.size(),
                                            shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &input));
  const char* given[] = {"picture"};
  std::vector<OrtValue*> found(outputs, nullptr);
  check(ort->Run(session, nullptr, given, &input, 1, names.data(), outputs, found.data()));

  float* scores = nullptr;
  check(ort->GetTensorMutableData(found[0], reinterpret_cast<void**>(&scores)));
  const std::vector<int64_t> classes = shape_of(found[0]);
  const int64_t best = std::max_element(scores, scores + classes.back()) - scores;
  std::printf("class %lld, %s = %.6f\n", static_cast<long long>(best), names[0], scores[best]);

  uint8_t* drawn = nullptr;
  check(ort->GetTensorMutableData(found[overlay], reinterpret_cast<void**>(&drawn)));
  const std::vector<int64_t> size = shape_of(found[overlay]);
  std::ofstream file(words[3], std::ios::binary);
  file << "P6\n" << size[2] << " " << size[1] << "\n255\n";
  file.write(reinterpret_cast<const char*>(drawn), size[1] * size[2] * 3);

  for (OrtValue* value : found) ort->ReleaseValue(value);
  for (const char* name : names) check(ort->AllocatorFree(allocator, const_cast<char*>(name)));
  ort->ReleaseValue(input);
  ort->ReleaseMemoryInfo(memory);
  ort->ReleaseSession(session);
  ort->ReleaseSessionOptions(options);
  ort->ReleaseEnv(env);
  return 0;
}
