
#include <eml_net.h>
static const float mynet_layer_0_biases[3] = { -0.073645f, -0.016291f, -0.048212f };
static const float mynet_layer_0_weights[12] = { 0.244365f, 0.580972f, 0.233654f, -0.921471f, 0.640183f, 0.315634f, -0.379683f, 0.410913f, 0.257792f, 0.207983f, 0.020098f, 0.386584f };
static const float mynet_layer_1_biases[2] = { -0.027560f, 0.129406f };
static const float mynet_layer_1_weights[6] = { 0.488956f, 0.032433f, -0.238790f, -0.638426f, -0.209997f, 0.006648f };
static float mynet_buf1[4];
static float mynet_buf2[4];
static const EmlNetLayer mynet_layers[2] = { 
{ 3, 4, mynet_layer_0_weights, mynet_layer_0_biases, EmlNetActivationRelu }, 
{ 2, 3, mynet_layer_1_weights, mynet_layer_1_biases, EmlNetActivationIdentity } };
static EmlNet mynet = { 2, mynet_layers, mynet_buf1, mynet_buf2, 4 };

    int32_t
    mynet_predict(const float *features, int32_t n_features)
    {
        return eml_net_predict(&mynet, features, n_features);
    }
    

    int32_t
    mynet_regress(const float *features, int32_t n_features, float *out, int32_t out_length)
    {
        return eml_net_regress(&mynet, features, n_features, out, out_length);
    }
    

    float
    mynet_regress1(const float *features, int32_t n_features)
    {
        return eml_net_regress1(&mynet, features, n_features);
    }
    